<?php
/**
 * A stand-in for CiviCRM, for tests: its pipe, its queues and its HTTP API over the SQLite store of the Python site.
 * What it answers is what the transcripts show (contract A1 to A4, B). The settings file defines CIVICRM_FAKE_CONFIG.
 */
require_once __DIR__ . '/event.php';
require_once __DIR__ . '/store.php';
require_once __DIR__ . '/pipe.php';
require_once __DIR__ . '/queues.php';
require_once __DIR__ . '/items.php';
require_once __DIR__ . '/handler.php';
require_once __DIR__ . '/tasks.php';
require_once __DIR__ . '/transaction.php';

class CRM_Core_Exception extends Exception {}

/** The test's settings: read at boot, and afresh where CiviCRM reads its database. */
class Fake {
  public static $contact = null;
  public static $user = null;  // the CMS's
  public static $boot;
  private static $bag = [];
  private static $is_fresh = false;

  public static function config($name, $fresh = true) {
    $defaults = [
      'version' => '6.13.3', 'database_version' => null, 'domain' => 1, 'domains' => [1], 'hosts' => [], 'queue_item' => true,
      'authx' => true, 'tokens' => ['SECRET' => 2], 'admins' => [2], 'site_key' => null, 'claim_error' => null, 'boot_output' => '',
      'boot_notice' => false, 'boot_fatal' => false, 'boot_exit' => null, 'boot_seconds' => 0,
      'http_fault' => null, 'http_fault_on' => '', 'retry_after' => 1, 'clock_offset' => 0, 'user_jobs' => [], 'contact_zone' => null,
      'listeners' => [], 'once' => null, 'gate' => null, 'environment' => 'Production', 'queue_paused' => 0,
      'core_maintenance_mode' => 0, 'enableBackgroundQueue' => 1, 'grants' => ['GRANT ALL PRIVILEGES ON *.* TO `civi`@`localhost`'],
    ];
    $config = $fresh ? self::read() : self::$boot;
    return array_key_exists($name, $config) ? $config[$name] : $defaults[$name];
  }

  /** CiviCRM's settings may stand under "settings" or beside the others; db_version is database_version. */
  private static function read() {
    $config = json_decode(file_get_contents(CIVICRM_FAKE_CONFIG), true);
    $config += isset($config['settings']) ? $config['settings'] : [];
    return isset($config['db_version']) ? $config + ['database_version' => $config['db_version']] : $config;
  }

  /** What Setting.set has stored, else what the test says. Unless fresh, as it was when first asked for. */
  public static function setting($name, $fresh = false) {
    if (!$fresh) {
      return array_key_exists($name, self::$bag) ? self::$bag[$name] : self::$bag[$name] = self::stored($name, self::$is_fresh);
    }
    return self::stored($name, true);
  }

  /** From now on settings are as they are in the database. */
  public static function reload() {
    self::$bag = [];
    self::$is_fresh = true;
  }

  private static function stored($name, $fresh) {
    $row = Store::row('SELECT value FROM civicrm_setting WHERE domain_id = ? AND name = ?', [self::domain(), $name]);
    return $row ? json_decode($row['value'], true) : self::config($name, $fresh);
  }

  public static function set($name, $value) {
    Store::rows('INSERT OR REPLACE INTO civicrm_setting (domain_id, name, value) VALUES (?, ?, ?)',
      [self::domain(), $name, json_encode($value)]);
    self::$bag[$name] = $value;
  }

  public static function boot() {
    if (self::$boot !== null) {
      return;
    }
    self::$boot = self::read();
    set_time_limit(240);  // as some CMS do
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

  /** The clock of the site, which somebody may set. */
  public static function now() {
    return time() + self::config('clock_offset');
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
    return self::$dispatcher ?: self::rebuild();
  }

  /** As when the container is made anew: only CiviCRM's own listeners are there. */
  public static function rebuild() {
    self::$dispatcher = new FakeDispatcher();
    self::$dispatcher->addListener('hook_civicrm_queueRun_task', ['TaskHandler', 'runBatch']);
    self::$dispatcher->addListener('hook_civicrm_queueRun_letters', ['TaskHandler', 'runLetters']);
    foreach (Fake::config('listeners') as $name => $task) {
      self::$dispatcher->addListener($name, ['Listeners', $task], 10);
    }
    return self::$dispatcher;
  }

  public static function queue($name) {
    return new TaskHandler(FakeApi::spec($name));
  }

  public static function settings() {
    return new class {
      public function get($name) {
        return Fake::setting($name);
      }

      public function loadValues() {
        Fake::reload();
      }
    };
  }

  public static function service($id) {
    throw new CRM_Core_Exception("You have requested a non-existent service \"$id\".");
  }

  public static function log($channel = 'default') {
    return new class {
      public function error() {}
      public function warning() {}
      public function info() {}
    };
  }
}

class FakeDispatcher {
  private $listeners = [];

  public function addListener($name, $callback, $priority = 0) {
    $this->listeners[$name][-$priority][] = $callback;
  }

  public function getListenerPriority($name, $callback) {
    foreach (isset($this->listeners[$name]) ? $this->listeners[$name] : [] as $key => $callbacks) {
      if (in_array($callback, $callbacks, true)) {
        return -$key;
      }
    }
    return null;
  }

  public function dispatch($name, $event) {
    $listeners = isset($this->listeners[$name]) ? $this->listeners[$name] : [];
    ksort($listeners);
    foreach (array_merge([], ...array_values($listeners)) as $listener) {
      call_user_func($listener, $event);
    }
    return $event;
  }
}

class CRM_Utils_Time {
  public static function getTimeRaw() {
    return Fake::now();
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

        public function getLoggedInUfID() {
          return Fake::$user;
        }
      };
    }
    return $one;
  }

  public static function domainID() {
    return Fake::domain();
  }

  public static function isUpgradeMode() {
    return false;
  }
}

/** Who is logged in, to CiviCRM. */
class CRM_Core_Session {
  private $values = [];

  public static function singleton() {
    static $one;
    return $one ?: $one = new self();
  }

  public function get($name) {
    return $name === 'userID' ? Fake::$contact : (isset($this->values[$name]) ? $this->values[$name] : null);
  }

  public function set($name, $value = null) {
    if ($name === 'userID') {
      Fake::$contact = $value === null ? null : (int) $value;
    }
    else {
      $this->values[$name] = $value;
    }
  }
}

class CRM_Utils_System {
  public static function version() {
    return Fake::config('version', false);
  }

  public static function isMaintenanceMode() {
    return (bool) Fake::setting('core_maintenance_mode');
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
  return (new FakeApi(!empty($params['checkPermissions'])))->call($entity, $action, $params);
}
