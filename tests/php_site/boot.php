<?php
/**
 * A pipe of the stand-in without the project's adapter, so that it can be tested by itself:
 *
 *   php boot.php SETTINGS [FLAGS]       without any CMS
 *   php boot.php LAYOUT ROOT [FLAGS]    through the CMS in that directory
 */
ini_set('display_errors', 'stdout');

function boot_cms($layout, $root) {
  chdir($root);
  switch ($layout) {
    case 'wordpress':
      require_once 'wp-load.php';
      return civicrm_initialize();

    case 'drupal7':
      require_once 'includes/bootstrap.inc';
      drupal_bootstrap(DRUPAL_BOOTSTRAP_FULL);
      return civicrm_initialize();

    case 'backdrop':
      require_once 'core/includes/bootstrap.inc';
      backdrop_bootstrap(BACKDROP_BOOTSTRAP_FULL);
      return civicrm_initialize();

    case 'drupal8':
      $request = (function () { return require 'autoload.php'; })()
        ? Symfony\Component\HttpFoundation\Request::createFromGlobals() : null;
      Drupal\Core\DrupalKernel::createFromRequest($request, null, 'prod')->boot();
      return Drupal::service('civicrm')->initialize();

    case 'joomla':
      return boot_settings('administrator/components/com_civicrm/civicrm.settings.php');

    default:
      require_once 'vendor/autoload.php';
      return boot_settings('civicrm.standalone.php');
  }
}

function boot_settings($file) {
  global $civicrm_root;
  require_once $file;
  require_once "$civicrm_root/CRM/Core/ClassLoader.php";
  CRM_Core_ClassLoader::singleton()->register();
  CRM_Core_Config::singleton();
}

if (!is_file($argv[1])) {
  boot_cms($argv[1], $argv[2]);
  $flags = isset($argv[3]) ? $argv[3] : 'vtl';
}
else {
  boot_settings($argv[1]);
  $flags = isset($argv[2]) ? $argv[2] : 'vtl';
}
Civi::pipe($flags);
