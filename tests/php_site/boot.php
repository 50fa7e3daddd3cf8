<?php
/** A pipe of the stand-in without any CMS: `php boot.php SETTINGS [FLAGS]`, so that it can be tested by itself. */
ini_set('display_errors', 'stdout');
require_once $argv[1];
require_once __DIR__ . '/civicrm/core.php';
CRM_Core_Config::singleton();
Civi::pipe(isset($argv[2]) ? $argv[2] : 'vtl');
