<?php
/**
 * A stand-in for CiviCRM, for tests: its pipe, its queues and its HTTP API over the SQLite store of the Python site.
 * What it answers is what the transcripts show (contract A1-A4, B). The settings file defines CIVICRM_FAKE_CONFIG.
 */
require_once __DIR__ . '/store.php';
require_once __DIR__ . '/pipe.php';
require_once __DIR__ . '/queues.php';
require_once __DIR__ . '/items.php';
require_once __DIR__ . '/tasks.php';
require_once __DIR__ . '/chaos.php';

class CRM_Core_Exception extends Exception {}

/** The test's settings: read at boot, and afresh where CiviCRM reads its database. */
class Fake {
  public static $contact = null;
  public static $user = null;
  public static $boot;

  public static function config($name, $fresh = true) {
    $defaults = [
      'version' => '6.13.3', 'database_version' => null, 'domain' => 1, 'domains' => [1], 'hosts' => [], 'queue_item' => true,
      'authx' => true, 'tokens' => ['SECRET' => 2], 'admins' => [2], 'claim_error' => null, 'boot_output' => '',
      'boot_notice' => false, 'boot_fatal' => false, 'boot_exit' => null, 'boot_seconds' => 0,
      'http_fault' => null, 'http_fault_on' => '', 'retry_after' => 1, 'environment' => 'Production', 'queue_paused' => 0,
      'core_maintenance_mode' => 0, 'enableBackgroundQueue' => 1, 'grants' => ['GRANT ALL PRIVILEGES ON *.* TO `civi`@`localhost`'],
    ];
    $config = $fresh ? json_decode(file_get_contents(CIVICRM_FAKE_CONFIG), true) : self::$boot;
    return array_key_exists($name, $config) ? $config[$name] : $defaults[$name];
  }

  public static function boot() {
    if (self::$boot !== null) {
      return;
    }
    self::$boot = json_decode(file_get_contents(CIVICRM_FAKE_CONFIG), true);
    usleep((int) (1e6 * self::config('boot_seconds')));
    echo self::config('boot_output');
    if (self::config('boot_notice')) {
      echo $nowhere;
    }
    if (self::config('boot_fatal')) {
      the_function_that_is_not_there();
    }
    if (self::config('boot_exit') !== null) {
      exit(self::config('boot_exit'));
    }
    Store::open(self::$boot['store']);
  }

  public static function domain() {
    $host = isset($_SERVER['HTTP_HOST']) ? $_SERVER['HTTP_HOST'] : '';
    $hosts = self::config('hosts');
    return isset($hosts[$host]) ? $hosts[$host] : self::config('domain');
  }
}

class Civi {
  private static $dispatcher;

  public static function pipe($flags = 'vtl') {
    (new PipeSession())->serve($flags);
  }

  public static function dispatcher() {
    return self::$dispatcher = self::$dispatcher ?: new FakeDispatcher();
  }

  public static function settings() {
    return new class {
      public function get($name) {
        return Fake::config($name, false);
      }
    };
  }
}

class FakeDispatcher {
  private $listeners = [];

  public function addListener($name, $callback, $priority = 0) {
    $this->listeners[$name][] = $callback;
  }

  public function dispatch($name, $event) {
    foreach (isset($this->listeners[$name]) ? $this->listeners[$name] : [] as $listener) {
      $listener($event);
    }
  }
}

class CRM_Core_Config {
  public $userFramework = CIVICRM_UF;
  public $userSystem;

  public static function singleton() {
    static $one;
    Fake::boot();
    if (!$one) {
      $one = new self();
      $one->userSystem = new class {
        public function setMySQLTimeZone() {}
      };
    }
    return $one;
  }

  public static function domainID() {
    return Fake::domain();
  }
}

class CRM_Utils_System {
  public static function version() {
    return Fake::config('version', false);
  }

  public static function isMaintenanceMode() {
    return (bool) Fake::config('core_maintenance_mode', false);
  }

  public static function loadBootStrap($params = [], $loadUser = true, $throwError = true) {
    return true;
  }
}

class CRM_Core_BAO_Domain {
  public static function version() {
    return Fake::config('database_version') ?: Fake::config('version');
  }
}

function civicrm_api4($entity, $action, $params = []) {
  return (new FakeApi())->call($entity, $action, $params);
}
