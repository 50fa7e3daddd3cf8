<?php
/**
 * MINIPIPE: finds the CiviCRM site around the current directory, boots it, and serves Civi::pipe().
 *
 *   php minipipe.php [--url=URL] [--payload] [FLAGS]    serve requests; FLAGS for Civi::pipe, default vtl
 *   php minipipe.php [--url=URL] --probe                one line of JSON about the site
 *   php minipipe.php [--url=URL] --settle               for cores without the QueueItem API: see settle()
 *
 * Which site: CIVICRM_BOOT (Type://path[?host=…], Auto://.), else CIVICRM_SETTINGS (a path), else the nearest
 * site from the current directory upwards. Which site of a multisite: --url, else HTTP_HOST.
 *
 * Exit status: 0 the input ended · 2 usage · 10 not the CLI · 11 PHP too old · 12 no site found ·
 * 13 CiviCRM is not enabled there · 14 the boot failed · 15 the beginning of a task could not be noted ·
 * 16 a task has changed who is logged in. Anything but answers goes to standard error.
 *
 * COWORKER_BEGUN names a file in which each task is noted before it is called: see coworker_open_notes().
 * What a task leaves behind for the next one is undone (rule 16): coworker_before_task(), coworker_after_task().
 *
 * Written so that PHP 5.4 can parse it: an old one gets a sentence, not a syntax error.
 */

const COWORKER_USAGE = 2;
const COWORKER_NOT_CLI = 10;
const COWORKER_OLD_PHP = 11;
const COWORKER_NO_SITE = 12;
const COWORKER_NOT_ENABLED = 13;
const COWORKER_BOOT_FAILED = 14;
const COWORKER_CANNOT_NOTE = 15;
const COWORKER_SOMEBODY_ELSE = 16;

function coworker_fail($status, $message) {
  $GLOBALS['coworker_stage'] = 'failed';
  $said = isset($GLOBALS['coworker_said']) ? $GLOBALS['coworker_said'] : '';
  $break = $said === '' || substr($said, -1) === "\n" ? '' : "\n";
  file_put_contents('php://stderr', $break . 'MINIPIPE: ' . preg_replace('/\s+/', ' ', trim($message)) . "\n");
  exit($status);
}

if (PHP_SAPI !== 'cli') {
  coworker_fail(COWORKER_NOT_CLI, 'this is PHP\'s "' . PHP_SAPI . '", not its command line: install php-cli,'
    . ' or name its php with COWORKER_PHP');
}
if (version_compare(PHP_VERSION, '7.4.0', '<')) {
  coworker_fail(COWORKER_OLD_PHP, 'PHP ' . PHP_VERSION . ' is too old, 7.4 is needed: name another with COWORKER_PHP');
}
ini_set('display_errors', 'stderr');
ini_set('html_errors', '0');
if (!ini_get('error_log')) {
  ini_set('log_errors', '0');  // it would say everything twice
}
set_time_limit(0);
coworker_main(coworker_arguments(array_slice($_SERVER['argv'], 1)));

/** @return array mode (pipe, probe, settle), flags, url (or null), payload */
function coworker_arguments($words) {
  $found = array('mode' => 'pipe', 'flags' => 'vtl', 'url' => getenv('HTTP_HOST') ?: null, 'payload' => false);
  foreach ($words as $word) {
    if ($word === '--probe' || $word === '--settle') {
      $found['mode'] = substr($word, 2);
    }
    elseif ($word === '--payload') {
      $found['payload'] = true;
    }
    elseif (strpos($word, '--url=') === 0) {
      $found['url'] = substr($word, 6);
    }
    elseif (preg_match('/^[a-z]*$/', $word)) {
      $found['flags'] = $word;
    }
    else {
      coworker_fail(COWORKER_USAGE, "\"$word\" is not an option; known: --url=URL --payload --probe --settle, flags as vtl");
    }
  }
  return $found;
}

function coworker_main($arguments) {
  coworker_boot($arguments);
  if ($arguments['mode'] === 'probe') {
    fwrite(STDOUT, json_encode(coworker_probe(), JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE) . "\n");
  }
  elseif ($arguments['mode'] === 'settle') {
    coworker_settle();
  }
  else {
    coworker_tell_failures($arguments['payload']);
    coworker_take_charge();
    $GLOBALS['coworker_zone'] = date_default_timezone_get();
    coworker_listen();
    Civi::pipe($arguments['flags']);
  }
}

// --- finding the site -----------------------------------------------------------------------------

/** What tells a site's root, in the order of CiviCRM's own tools; coworker/civi/detect.py has the same. */
function coworker_signs() {
  return array(
    'WordPress' => array('wp-load.php'),
    'Joomla' => array('administrator/components/com_users/users.php', 'libraries/src/Factory.php'),
    'Drupal' => array('modules/system/system.module'),
    'Drupal8' => array('core/core.services.yml'),
    'Backdrop' => array('core/modules/layout/layout.module'),
    'Standalone' => array('civicrm.standalone.php', 'civicrm.config.php.standalone'),
  );
}

/** The directory as the shell names it: a symbolic link in it may be what makes the site. */
function coworker_here() {
  $pwd = getenv('PWD');
  return $pwd && realpath($pwd) === getcwd() ? $pwd : getcwd();
}

/** @return array|null [type, root] */
function coworker_find($directory, &$searched) {
  for ($dir = rtrim($directory, '/'); ; $dir = dirname($dir)) {
    $dir = $dir === '' ? '/' : $dir;
    $below = rtrim($dir, '/');
    $searched[] = $dir;
    foreach (coworker_signs() as $type => $signs) {
      $roots = array($below, "$below/web");
      if ($type === 'Standalone') {
        $roots[] = "$below/srv";
      }
      foreach ($roots as $root) {
        foreach ($signs as $sign) {
          if (file_exists("$root/$sign")) {
            return array($type, $root === '' ? '/' : $root);
          }
        }
      }
    }
    if ($dir === '/' || $dir === '.') {
      return null;
    }
  }
}

/** @return array type, root, url (of CIVICRM_BOOT, or null) */
function coworker_site() {
  $boot = getenv('CIVICRM_BOOT');
  $url = null;
  if (!$boot) {
    return array_merge(coworker_found(coworker_here()), array($url));
  }
  if (!preg_match(';^(\w+)://(?:[^@/]*@)?([^?]*)(?:\?(.*))?$;', $boot, $parts)) {
    coworker_fail(COWORKER_NO_SITE, "CIVICRM_BOOT=$boot is not of the form Type://path");
  }
  $path = trim($parts[2], '/') === '.' ? coworker_here() : '/' . trim($parts[2], '/');
  parse_str(isset($parts[3]) ? $parts[3] : '', $query);
  $url = isset($query['host']) ? $query['host'] : null;
  if ($parts[1] === 'Auto') {
    return array_merge(coworker_found($path), array($url));
  }
  if (!array_key_exists($parts[1], coworker_signs())) {
    coworker_fail(COWORKER_NO_SITE, "CIVICRM_BOOT=$boot: the type must be Auto, "
      . implode(', ', array_keys(coworker_signs())));
  }
  if (!is_dir($path)) {
    coworker_fail(COWORKER_NO_SITE, "CIVICRM_BOOT=$boot: there is no directory $path");
  }
  return array($parts[1], $path, $url);
}

function coworker_found($directory) {
  $searched = array();
  $found = coworker_find($directory, $searched);
  if (!$found) {
    coworker_fail(COWORKER_NO_SITE, 'no CiviCRM site found in ' . implode(', ', $searched)
      . ' (nor in web/ or srv/ of these): start in a site\'s folder, or set CIVICRM_BOOT or CIVICRM_SETTINGS');
  }
  return $found;
}

// --- booting --------------------------------------------------------------------------------------

function coworker_boot($arguments) {
  $GLOBALS['coworker_stage'] = 'boot';
  register_shutdown_function('coworker_ended_early');
  ob_start('coworker_to_stderr', 1);
  $settings = getenv('CIVICRM_BOOT') ? false : getenv('CIVICRM_SETTINGS');
  try {
    if ($settings && $settings !== 'Auto') {
      $GLOBALS['coworker_site'] = array('settings', dirname($settings));
      coworker_simulate_web($arguments['url'], dirname($settings));
      coworker_boot_settings($settings);
      coworker_boot_cms_of_settings();
    }
    else {
      list($type, $root, $url) = coworker_site();
      $GLOBALS['coworker_site'] = array($type, $root);
      coworker_simulate_web($url !== null ? $url : $arguments['url'], $root);
      chdir($root);
      call_user_func('coworker_boot_' . strtolower($type), $root);
    }
    if (!class_exists('Civi') || !method_exists('Civi', 'pipe')) {
      coworker_fail(COWORKER_BOOT_FAILED, 'this CiviCRM has no Civi::pipe: 5.47 or later is needed');
    }
    $system = CRM_Core_Config::singleton()->userSystem;
    if (is_callable(array($system, 'setMySQLTimeZone'))) {
      $system->setMySQLTimeZone();
    }
  }
  catch (Exception $error) {
    coworker_fail(COWORKER_BOOT_FAILED, coworker_where() . ' does not boot: ' . $error->getMessage());
  }
  catch (Throwable $error) {
    coworker_fail(COWORKER_BOOT_FAILED, coworker_where() . ' does not boot: ' . $error->getMessage()
      . ' in ' . $error->getFile() . ':' . $error->getLine());
  }
  while (ob_get_level()) {
    ob_end_flush();
  }
  ini_set('display_errors', 'stderr');  // the CMS may have set it
  set_time_limit(0);  // and this for one request
  $GLOBALS['coworker_stage'] = 'up';
}

function coworker_where() {
  list($type, $root) = $GLOBALS['coworker_site'];
  return $type === 'settings' ? "the CiviCRM of CIVICRM_SETTINGS in $root" : "the $type site in $root";
}

/** Nothing that a CMS prints while it boots may be taken for our welcome. Of a page only the gist is told, at its end. */
function coworker_to_stderr($text) {
  $said = (isset($GLOBALS['coworker_said']) ? $GLOBALS['coworker_said'] : '') . $text;
  if (preg_match('/<(!doctype html|html)\b/i', $said)) {
    $GLOBALS['coworker_said'] = substr($said, 0, 100000);
    return '';
  }
  $GLOBALS['coworker_said'] = substr($said, -4000);
  fwrite(STDERR, $text);
  return '';
}

/** The last words of a text; of a page the title and the first sentence. coworker/civi/pages.py has the same. */
function coworker_gist($text) {
  $page = preg_match('/<(!doctype html|html)\b.*/is', $text, $found) ? $found[0] : null;
  if ($page === null) {
    return substr(coworker_words($text), -300);
  }
  $title = preg_match(';<title\b[^>]*>(.*?)</title;is', $page, $found) ? coworker_words($found[1]) : '';
  $body = coworker_words(preg_replace(';<(style|script|head|title)\b.*?(</\1\s*>|$);is', ' ', $page));
  $first = preg_match('/^.*?[.!?](?=\s|$)/s', $body, $found) ? $found[0] : $body;
  return substr(implode(': ', array_unique(array_filter(array($title, $first)))), 0, 300);
}

function coworker_words($html) {
  return trim(preg_replace('/\s+/', ' ', html_entity_decode(strip_tags(str_replace('<', ' <', $html)))));
}

/** A fatal error, or a CMS that printed a page and left, ends the boot without a word to us. */
function coworker_ended_early() {
  if (!isset($GLOBALS['coworker_stage']) || $GLOBALS['coworker_stage'] !== 'boot') {
    return;
  }
  $error = error_get_last();
  if ($error && ($error['type'] & (E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR))) {
    $why = strtok($error['message'], "\n") . " in {$error['file']}:{$error['line']}";
  }
  else {
    $said = isset($GLOBALS['coworker_said']) ? coworker_gist($GLOBALS['coworker_said']) : '';
    $why = 'it ended the process' . ($said === '' ? '' : ' and said: ' . $said);
  }
  coworker_fail(COWORKER_BOOT_FAILED, coworker_where() . ' does not boot: ' . $why);
}

/** A command line has no request; the CMS, and which site of a multisite it is, hang on one. */
function coworker_simulate_web($url, $root) {
  $url = $url === null || $url === '' ? 'localhost' : $url;
  $parts = parse_url(strpos($url, '://') === false ? "http://$url" : $url);
  if (empty($parts['host'])) {
    coworker_fail(COWORKER_USAGE, "\"$url\" is no URL");
  }
  $https = getenv('HTTPS') === 'on' || (isset($parts['scheme']) && $parts['scheme'] === 'https');
  $port = isset($parts['port']) ? $parts['port'] : null;
  $path = isset($parts['path']) ? rtrim($parts['path'], '/') : '';
  $_SERVER['HTTP_HOST'] = $parts['host'] . ($port ? ":$port" : '');
  $_SERVER['SERVER_NAME'] = $parts['host'];
  $_SERVER['SERVER_PORT'] = $port ? $port : ($https ? 443 : 80);
  if ($https) {
    $_SERVER['HTTPS'] = 'on';
  }
  $_SERVER['SCRIPT_FILENAME'] = "$root/index.php";
  $_SERVER['SCRIPT_NAME'] = $_SERVER['PHP_SELF'] = "$path/index.php";
  $_SERVER['REQUEST_URI'] = "$path/";
  $_SERVER['REQUEST_METHOD'] = 'GET';
  $_SERVER['REMOTE_ADDR'] = '127.0.0.1';
  $_SERVER['SERVER_SOFTWARE'] = '';
}

function coworker_need($enabled) {
  if (!$enabled) {
    coworker_fail(COWORKER_NOT_ENABLED, 'CiviCRM is not enabled in ' . coworker_where());
  }
}

function coworker_boot_wordpress($root) {
  if (!defined('WP_DISABLE_FATAL_ERROR_HANDLER')) {
    define('WP_DISABLE_FATAL_ERROR_HANDLER', true);  // it prints a page that does not say what is wrong
  }
  require_once "$root/wp-load.php";
  coworker_need(function_exists('civicrm_initialize') && civicrm_initialize() !== false);
}

function coworker_boot_drupal($root) {
  define('DRUPAL_ROOT', $root);
  require_once "$root/includes/bootstrap.inc";
  drupal_bootstrap(DRUPAL_BOOTSTRAP_FULL);
  coworker_need(module_exists('civicrm') && function_exists('civicrm_initialize') && civicrm_initialize() !== false);
}

function coworker_boot_backdrop($root) {
  define('BACKDROP_ROOT', $root);
  require_once "$root/core/includes/bootstrap.inc";
  require_once "$root/core/includes/config.inc";
  backdrop_bootstrap(BACKDROP_BOOTSTRAP_FULL);
  coworker_need(module_exists('civicrm') && function_exists('civicrm_initialize') && civicrm_initialize() !== false);
}

/** Drupal 8 and later. A request must be on its stack, with some route, or parts of it do not work. */
function coworker_boot_drupal8($root) {
  $autoloader = require "$root/autoload.php";
  $request = Symfony\Component\HttpFoundation\Request::createFromGlobals();
  $kernel = Drupal\Core\DrupalKernel::createFromRequest($request, $autoloader, 'prod');
  $kernel->boot();
  $kernel->preHandle($request);
  $request->attributes->set(Drupal\Core\Routing\RouteObjectInterface::ROUTE_OBJECT,
    new Symfony\Component\Routing\Route('<none>'));
  $request->attributes->set(Drupal\Core\Routing\RouteObjectInterface::ROUTE_NAME, '<none>');
  $container = $kernel->getContainer();
  $container->get('request_stack')->push($request);
  $container->get('router.request_context')->fromRequest($request);
  coworker_need(Drupal::hasService('civicrm'));
  Drupal::service('civicrm')->initialize();
}

function coworker_boot_standalone($root) {
  $loaders = array("$root/vendor/autoload.php", "$root/core/vendor/autoload.php", "$root/web/core/vendor/autoload.php",
    dirname($root) . '/vendor/autoload.php');
  foreach ($loaders as $loader) {
    if (file_exists($loader)) {
      require_once $loader;
      break;
    }
  }
  $settings = array("$root/civicrm.standalone.php", "$root/private/civicrm.settings.php",
    "$root/data/civicrm.settings.php", "$root/civicrm.settings.php");
  coworker_boot_settings(coworker_first($settings));
}

/** CiviCRM's settings first, and Joomla through them: that is how its own tools do it. */
function coworker_boot_joomla($root) {
  coworker_boot_settings(coworker_first(array("$root/administrator/components/com_civicrm/civicrm.settings.php")));
  coworker_boot_cms_of_settings();
}

function coworker_first($files) {
  $there = array_values(array_filter($files, 'file_exists'));
  coworker_need($there);
  return $there[0];
}

function coworker_boot_settings($file) {
  if (!is_readable($file)) {
    coworker_fail(COWORKER_NO_SITE, "the settings file $file " . (file_exists($file) ? 'cannot be read' : 'does not exist'));
  }
  if (!defined('CIVICRM_SETTINGS_PATH')) {
    define('CIVICRM_SETTINGS_PATH', $file);
  }
  global $civicrm_root;
  require_once $file;
  if (!empty($civicrm_root) && file_exists("$civicrm_root/CRM/Core/ClassLoader.php")) {
    require_once "$civicrm_root/CRM/Core/ClassLoader.php";
    CRM_Core_ClassLoader::singleton()->register();
  }
  CRM_Core_Config::singleton();
}

function coworker_boot_cms_of_settings() {
  if (is_callable(array('CRM_Utils_System', 'loadBootStrap'))) {
    CRM_Utils_System::loadBootStrap(array(), false, false);
  }
}

// --- serving --------------------------------------------------------------------------------------

/** One line of JSON on standard error for each task that fails: the outcome alone does not say why. */
function coworker_tell_failures($payload) {
  Civi::dispatcher()->addListener('hook_civicrm_queueTaskError', function ($event) use ($payload) {
    try {
      $item = is_object($event->item) ? $event->item : (object) $event->item;
      $task = isset($item->data) && is_object($item->data) ? $item->data : null;
      $line = array(
        'coworker' => 'task_error',
        'queue' => $event->queue->getName(),
        'id' => (string) $item->id,
        'title' => $task && isset($task->title) ? $task->title : null,
        'callback' => coworker_callback($task),
        'error' => $event->exception ? coworker_error($event->exception) : null,
      );
      if (!$payload && isset($line['error'])) {
        // What CiviCRM says after it is the whole task, with its arguments.
        $line['error'] = preg_replace('/(Skipping exhausted task after \d+ tries).*/s', '$1', $line['error']);
      }
      if ($payload && $task && isset($task->arguments)) {
        $line['arguments'] = $task->arguments;
      }
      coworker_tell($line);
    }
    catch (Throwable $error) {
      fwrite(STDERR, 'MINIPIPE: cannot tell of a failed task: ' . $error->getMessage() . "\n");
    }
  });
}

/** The worker has these lines for its log: coworker/child/output.py. */
function coworker_tell($line) {
  fwrite(STDERR, json_encode($line, JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR) . "\n");
}

function coworker_callback($task) {
  $callback = $task && isset($task->callback) ? $task->callback : null;
  return is_array($callback) ? implode('::', array_map('coworker_name', $callback)) : coworker_name($callback);
}

function coworker_name($part) {
  return is_object($part) ? get_class($part) : (is_scalar($part) ? (string) $part : null);
}

// --- before and after each task -------------------------------------------------------------------

/**
 * CiviCRM calls run() of each item's task. So before its own handler gets a batch, each task is replaced by one
 * that does what is to be done before it, calls run() of the original, which may be of an extension's class, and
 * does what is to be done after it.
 */
function coworker_take_charge() {
  $path = getenv('COWORKER_BEGUN');
  putenv('COWORKER_BEGUN');  // what a task starts is not to write there
  unset($_SERVER['COWORKER_BEGUN'], $_ENV['COWORKER_BEGUN']);
  $run = class_exists('CRM_Queue_Task') ? new ReflectionMethod('CRM_Queue_Task', 'run') : null;
  if (!$run || $run->isFinal() || $run->hasReturnType() || $run->getNumberOfParameters() !== 1) {
    fwrite(STDERR, "MINIPIPE: this CiviCRM's tasks are not as we know them: they are neither noted nor cleaned up after\n");
    return;
  }
  if ($path) {
    coworker_open_notes($path);
  }
  coworker_remember();
  coworker_declare_task();
}

/**
 * In this file a line is written before each task is called and one when it is over, so that whoever settles a
 * claim without an answer knows what was begun (rule 4; coworker/claims/beginnings.py has the format).
 */
function coworker_open_notes($path) {
  $GLOBALS['coworker_begun'] = @fopen($path, 'ae');
  if ($GLOBALS['coworker_begun']) {
    stream_set_write_buffer($GLOBALS['coworker_begun'], 0);
  }
  if (!coworker_note(sprintf('opened %.6F', hrtime(true) / 1e9))) {
    fwrite(STDERR, "MINIPIPE: $path cannot be written: what tasks begin is not noted\n");
    unset($GLOBALS['coworker_begun']);
  }
}

/** Whether the line was written, if there is a file. After one that was not written whole nothing is. */
function coworker_note($line) {
  if (!isset($GLOBALS['coworker_begun'])) {
    return true;
  }
  $whole = $GLOBALS['coworker_begun'] && @fwrite($GLOBALS['coworker_begun'], "$line\n") === strlen($line) + 1;
  if (!$whole) {
    $GLOBALS['coworker_begun'] = false;
  }
  return $whole;
}

/** A task whose beginning nobody would know of must not be called. Returns when it began, in seconds. */
function coworker_note_begun($id) {
  $now = hrtime(true) / 1e9;
  if (!coworker_note(sprintf('begun %d %.6F', $id, $now))) {
    coworker_fail(COWORKER_CANNOT_NOTE, "cannot note that task $id begins (is the disk of state_dir full?)");
  }
  return $now;
}

/** Also after each task: one that installs an extension may have made the dispatcher anew. */
function coworker_listen() {
  $listeners = array('civi.api.prepare' => 'coworker_before_call', 'civi.api.respond' => 'coworker_after_call');
  if (class_exists('CoworkerTask', false)) {
    $listeners['hook_civicrm_queueRun_task'] = 'coworker_before_tasks';
  }
  foreach ($listeners as $name => $listener) {
    if (Civi::dispatcher()->getListenerPriority($name, $listener) === null) {
      Civi::dispatcher()->addListener($name, $listener, 5000);  // before CiviCRM's handler, which has 0
    }
  }
}

/** CiviCRM answers with the settings of its boot; whoever asks us is to learn those of now. */
function coworker_before_call($event) {
  $request = $event->getApiRequest();
  if ($request['version'] == 4 && $request['entity'] === 'Setting' && $request['action'] === 'get') {
    coworker_try(function () { Civi::settings()->loadValues(); });
  }
  elseif ($request['version'] == 4 && $request['entity'] === 'Queue' && $request['action'] === 'runItems') {
    coworker_listen_to_runner($request);
  }
  elseif ($request['version'] == 4 && $request['entity'] === 'Queue' && $request['action'] === 'claimItems') {
    $GLOBALS['coworker_claim_sent'] = coworker_time();
  }
}

/**
 * Adds to the first item of a claim the release_time that all its rows show, if that is asked for: CiviCRM does not
 * tell it, and without it a lease can be recognised by its age only, which is wrong once a clock was set.
 */
function coworker_after_call($event) {
  $request = $event->getApiRequest();
  if ($request['version'] != 4 || $request['entity'] !== 'Queue' || $request['action'] !== 'claimItems') {
    return;
  }
  coworker_try(function () use ($event, $request) {
    $items = $event->getResponse();
    if (!count($items) || !in_array('release_time', (array) $request->getSelect(), true)) {
      return;
    }
    $spec = Civi::queue($request->getQueue())->getSpec('lease_time');
    $lease = (int) $spec ?: 3600;
    $first = $items[0];
    $end = $GLOBALS['coworker_claim_sent'] + $lease;
    if (coworker_time() + $lease !== $end) {
      $end = (int) CRM_Core_DAO::singleValueQuery('SELECT UNIX_TIMESTAMP(release_time) FROM civicrm_queue_item WHERE id = %1',
        array(1 => array((int) $first['id'], 'Integer')));
    }
    if (!$end) {
      return;
    }
    // In the zone of the site, as control is shown it: a contact may have another one.
    $time = new DateTime("@$end");
    $first['release_time'] = $time->setTimezone(new DateTimeZone($GLOBALS['coworker_zone']))->format('Y-m-d H:i:s');
    $items[0] = $first;
  });
}

/** CiviCRM's clock, as its queues use it. */
function coworker_time() {
  return is_callable(array('CRM_Utils_Time', 'getTimeRaw')) ? CRM_Utils_Time::getTimeRaw() : time();
}

/** Runners other than `task` have hooks of their own: the first batch for one makes us listen there, too. */
function coworker_listen_to_runner($request) {
  if (!class_exists('CoworkerTask', false)) {
    return;
  }
  $runner = coworker_try(function () use ($request) {
    $items = $request->getItems();
    return Civi::queue($items[0]['queue'])->getSpec('runner');
  });
  $hook = "hook_civicrm_queueRun_$runner";
  if ($runner && $runner !== 'task' && Civi::dispatcher()->getListenerPriority($hook, 'coworker_before_batch') === null) {
    Civi::dispatcher()->addListener($hook, 'coworker_before_batch', 5000);
  }
}

/** What is no task CiviCRM will not call; but an extension may, so it counts as begun. */
function coworker_before_tasks($event) {
  foreach (array_filter($event->items) as $item) {
    if (!isset($item->data) || !$item->data instanceof CRM_Queue_Task) {
      coworker_note_begun($item->id);
    }
    elseif (!$item->data instanceof CoworkerTask) {
      $item->data = CoworkerTask::coworkerOf($item->data, $item->id);
    }
  }
}

/** How another runner goes about a batch is not known: all of it counts as begun, and is one to look after. */
function coworker_before_batch($event) {
  coworker_before_task();
  foreach (array_filter($event->items) as $item) {
    coworker_note_begun($item->id);
  }
}

/** In a function, since its parent is there only when CiviCRM has booted. */
function coworker_declare_task() {
  #[AllowDynamicProperties]
  class CoworkerTask extends CRM_Queue_Task {
    private $coworkerTask;
    private $coworkerItem;

    /** It looks like the original to whoever else listens. */
    public static function coworkerOf($task, $id) {
      $self = (new ReflectionClass(__CLASS__))->newInstanceWithoutConstructor();
      foreach (get_object_vars($task) as $name => $value) {
        $self->$name = $value;
      }
      $self->coworkerTask = $task;
      $self->coworkerItem = $id;
      return $self;
    }

    public function run($taskCtx) {
      $found = coworker_before_task();
      $begun = coworker_note_begun($this->coworkerItem);
      $result = $error = null;
      $GLOBALS['coworker_in_task'] = true;
      try {
        $result = $this->coworkerTask->run($taskCtx);
      }
      catch (Throwable $error) {
        // It is thrown below, unless something worse is to be said.
      }
      if ($found) {
        $GLOBALS['coworker_in_task'] = false;
        coworker_after_task($found, $this->coworkerTask, $this->coworkerItem, $error);
      }
      coworker_note(sprintf('ended %d %.6F', $this->coworkerItem, hrtime(true) / 1e9 - $begun));
      coworker_listen();
      if ($error) {
        throw $error;
      }
      return $result;
    }
  }
}

// --- what tasks leave behind ----------------------------------------------------------------------

/** What a task may set for those after it in the process (contract D15). */
function coworker_read_settings() {
  return array(
    'time_limit' => ini_get('max_execution_time'),
    'memory_limit' => ini_get('memory_limit'),
    'display_errors' => ini_get('display_errors'),
    'error_level' => error_reporting(),
    'time_zone' => date_default_timezone_get(),
    'locale' => setlocale(LC_ALL, '0'),
    'directory' => getcwd(),
    'umask' => umask(),
  );
}

/** Whether it could be set. */
function coworker_set($name, $value) {
  switch ($name) {
    case 'time_limit': return ini_set('max_execution_time', $value) !== false;  // ends the count that a task began
    case 'memory_limit': return coworker_limit_memory($value);
    case 'display_errors': return ini_set('display_errors', $value) !== false;
    case 'error_level': return is_int(error_reporting($value));
    case 'time_zone': return date_default_timezone_set($value);
    case 'locale': return setlocale(LC_ALL, $value) !== false;
    case 'directory': return $value === false || @chdir($value);
    case 'umask': return is_int(umask($value));
  }
}

/** With less than what is in use the next task would end for want of memory. */
function coworker_limit_memory($limit) {
  $power = strpos(' KMG', strtoupper(substr($limit, -1)));
  $bytes = (int) $limit << 10 * (int) $power;
  return ($bytes <= 0 || memory_get_usage(true) < $bytes) && @ini_set('memory_limit', $limit) !== false;
}

/** Sets back what is not as it was when serving began. Returns [name: why it cannot be]. */
function coworker_reset($values) {
  $failed = array();
  foreach ($GLOBALS['coworker_values'] as $name => $value) {
    if ($values[$name] !== $value && !coworker_set($name, $value)) {
      $failed[$name] = 'cannot be set back';
    }
  }
  return $failed;
}

/** Who is logged in: the contact and the user of CiviCRM's session, and the user of the CMS (contract A2). */
function coworker_who() {
  $session = CRM_Core_Session::singleton();
  $user = call_user_func($GLOBALS['coworker_cms_user']);
  return array((string) $session->get('userID'), (string) $session->get('ufID'), (string) $user);
}

function coworker_in_transaction() {
  return $GLOBALS['coworker_has_transactions'] && coworker_try(array('CRM_Core_Transaction', 'isActive'));
}

/** What is in force when serving begins is what each task finds. */
function coworker_remember() {
  $system = CRM_Core_Config::singleton()->userSystem;
  $has_user = is_callable(array($system, 'getLoggedInUfID'));
  $GLOBALS['coworker_cms_user'] = $has_user ? array($system, 'getLoggedInUfID') : function () { return null; };
  $GLOBALS['coworker_values'] = coworker_read_settings();
  $GLOBALS['coworker_who'] = coworker_try('coworker_who');
  $GLOBALS['coworker_in_task'] = false;
  $GLOBALS['coworker_somebody_else'] = '';  // the task after which it is not whom we know
  $GLOBALS['coworker_left'] = array();  // what was said already
  $GLOBALS['coworker_has_transactions'] = is_callable(array('CRM_Core_Transaction', 'isActive'));
}

/** Has the task find what the first one found. Returns what is to be so after it; not for a task within a task. */
function coworker_before_task() {
  if ($GLOBALS['coworker_in_task']) {
    return null;
  }
  if ($GLOBALS['coworker_somebody_else'] !== '') {
    coworker_fail(COWORKER_SOMEBODY_ELSE, "the task {$GLOBALS['coworker_somebody_else']} has changed who is logged in");
  }
  $values = coworker_read_settings();
  $who = coworker_try('coworker_who');
  if ($who !== $GLOBALS['coworker_who']) {  // a login: it may have set the contact's time zone and language
    $GLOBALS['coworker_who'] = $who;
    $GLOBALS['coworker_values']['time_zone'] = $values['time_zone'];
    $GLOBALS['coworker_values']['locale'] = $values['locale'];
  }
  if ($values !== $GLOBALS['coworker_values']) {
    coworker_reset($values);
    $values = coworker_read_settings();
  }
  return array('values' => $values, 'buffers' => ob_get_level(),
    'in_transaction' => coworker_in_transaction());
}

/** Undoes what the task has left behind, and says so. $error, what it has failed with, may become another. */
function coworker_after_task($found, $task, $id, &$error) {
  $values = coworker_read_settings();
  if ($values !== $found['values']) {  // the limit of time first: it counts what we use, too
    $failed = coworker_reset($values);
    foreach ($values as $name => $value) {
      if ($value !== $found['values'][$name]) {
        $text = "$name is " . coworker_shown($name, $value) . ', was ' . coworker_shown($name, $found['values'][$name]);
        $how = isset($failed[$name]) ? $failed[$name] : 'set back';
        coworker_say_left($task, $id, $name, isset($failed[$name]) ? 'warning' : 'notice', "$text: $how");
      }
    }
  }
  if (ob_get_level() > $found['buffers']) {
    coworker_end_buffers($task, $id, $found['buffers']);
  }
  if (!$found['in_transaction'] && coworker_in_transaction()) {
    $error = coworker_roll_back($task, $id, $error);
  }
  if (coworker_try('coworker_who') !== $GLOBALS['coworker_who']) {
    coworker_be_oneself($task, $id);
  }
}

function coworker_shown($name, $value) {
  return $name === 'umask' ? sprintf('%04o', $value) : var_export($value, true);
}

/** Once for each kind and callback. $replace: another pipe takes our place "soon", or as soon as the batch ends: "now". */
function coworker_say_left($task, $id, $what, $level, $text, $replace = null) {
  $callback = coworker_callback($task);
  if (!isset($GLOBALS['coworker_left'][$what][$callback])) {
    $GLOBALS['coworker_left'][$what][$callback] = true;
    coworker_tell(array('coworker' => 'task_left', 'id' => (string) $id, 'title' => isset($task->title) ? $task->title : null,
      'callback' => $callback, 'what' => $what, 'level' => $level, 'text' => $text, 'replace' => $replace));
  }
}

/** Their text goes where all that a task prints goes. */
function coworker_end_buffers($task, $id, $level) {
  $count = ob_get_level() - $level;
  try {
    while (ob_get_level() > $level && @ob_end_flush()) {
    }
    $how = ob_get_level() > $level ? 'some cannot be ended' : 'ended';
  }
  catch (Throwable $error) {
    $how = 'ended with ' . coworker_error($error);
  }
  coworker_say_left($task, $id, 'output_buffer', 'warning', "$count output buffer(s) open: $how");
}

/**
 * Whoever comes next would write into a transaction that nobody commits (contract A7). The objects that hold it
 * end what is open then, or fail, when PHP destroys them: so the pipe is replaced, and those that hang on the error
 * or on each other are destroyed here. Returns the error that the task is to fail with.
 */
function coworker_roll_back($task, $id, &$error) {
  $how = coworker_attempt(array('CRM_Core_Transaction', 'forceRollbackIfEnabled'));
  $how = $how === '' ? 'rolled back' : "not rolled back: $how";
  $before = $error ? '; it had failed with ' . coworker_error($error) : '';
  coworker_attempt(function () use (&$error) {
    $error = null;
    gc_collect_cycles();
  });
  coworker_say_left($task, $id, 'transaction', 'error', "a transaction open: $how", 'soon');
  return new CRM_Core_Exception("The task has left a transaction open: $how$before");
}

/** The contact can be logged in again; the user of a CMS cannot, so then no other task is called here. */
function coworker_be_oneself($task, $id) {
  $failed = coworker_attempt(function () {
    list($contact, $user) = $GLOBALS['coworker_who'];
    CRM_Core_Session::singleton()->set('userID', $contact === '' ? null : $contact);
    CRM_Core_Session::singleton()->set('ufID', $user === '' ? null : $user);
    // The name under which CiviCRM's triggers log what changes.
    CRM_Core_DAO::executeQuery('SET @civicrm_user_id = ' . ($contact === '' ? 'NULL' : (int) $contact));
  });
  $restored = $failed === '' && coworker_try('coworker_who') === $GLOBALS['coworker_who'];
  if (!$restored) {
    $GLOBALS['coworker_somebody_else'] = "$id (" . coworker_callback($task) . ')';
  }
  $how = $restored ? 'set back' : 'no other task is called';
  coworker_say_left($task, $id, 'identity', 'error', "somebody else logged in: $how", 'now');
}

/** Returns what it fails with, or ''. */
function coworker_attempt($deed) {
  try {
    $deed();
  }
  catch (Throwable $error) {
    return coworker_error($error);
  }
  return '';
}

function coworker_error($error) {
  return get_class($error) . ': ' . $error->getMessage();
}

// --- probing --------------------------------------------------------------------------------------

/** Each fact by itself: one that cannot be had is null. */
function coworker_probe() {
  list($type, $root) = $GLOBALS['coworker_site'];
  $facts = array(
    'root' => $root,
    'cms' => $type === 'settings' ? coworker_try(function () { return CIVICRM_UF; }) : $type,
    'php' => PHP_VERSION,
    'memory_limit' => ini_get('memory_limit'),
    'owner' => coworker_user(fileowner(defined('CIVICRM_SETTINGS_PATH') ? CIVICRM_SETTINGS_PATH : $root)),
    'user' => coworker_user(function_exists('posix_geteuid') ? posix_geteuid() : getmyuid()),
    'time_zone' => date_default_timezone_get(),
  );
  $facts['civicrm'] = coworker_try(function () { return CRM_Utils_System::version(); });
  $facts['database_version'] = coworker_try(function () { return CRM_Core_BAO_Domain::version(); });
  $facts['upgrade_pending'] = $facts['database_version'] === null || $facts['civicrm'] === null ? null
    : $facts['database_version'] !== $facts['civicrm'];
  foreach (array('environment', 'queue_paused', 'enableBackgroundQueue') as $name) {
    $facts[$name] = coworker_try(function () use ($name) { return Civi::settings()->get($name); });
  }
  $facts['maintenance'] = coworker_try(function () {
    return is_callable(array('CRM_Utils_System', 'isMaintenanceMode')) ? (bool) CRM_Utils_System::isMaintenanceMode() : null;
  });
  $facts['domain'] = coworker_try(function () { return (int) CRM_Core_Config::domainID(); });
  $facts['domains'] = coworker_try(function () {
    $domains = array();
    foreach (civicrm_api4('Domain', 'get', array('checkPermissions' => false, 'select' => array('id', 'name'))) as $row) {
      $domains[(int) $row['id']] = isset($row['name']) ? $row['name'] : null;
    }
    return $domains;
  });
  $facts['grants'] = coworker_try(function () {
    $grants = array();
    $rows = CRM_Core_DAO::executeQuery('SHOW GRANTS');
    while ($rows->fetch()) {
      foreach (get_object_vars($rows) as $grant) {
        if (is_string($grant) && strpos($grant, 'GRANT ') === 0) {
          // Only what is granted and on what: a grant names the account, and may contain its password's hash.
          $grants[] = preg_replace('/ TO .*/s', '', $grant);
        }
      }
    }
    return $grants;
  });
  return $facts;
}

function coworker_try($get) {
  try {
    return $get();
  }
  catch (Throwable $error) {
    return null;
  }
}

function coworker_user($id) {
  $entry = function_exists('posix_getpwuid') ? posix_getpwuid($id) : false;
  return $entry ? $entry['name'] : (string) $id;
}

// --- settling -------------------------------------------------------------------------------------

/**
 * For cores without the QueueItem API (before 6.4). Each line of input is a JSON list of entries, each line of
 * output ("coworker-settle " + JSON) answers it: {"now": epoch, "reports": [one for each entry]}.
 *
 *   {"queue", "id"}                                    the row: {"id", "run_count", "release_time"} or null
 *   {"queue", "release": [from, to]}                   the rows whose release_time lies there, as a list
 *   {"queue", "id", "run_count", "release", "set"}     one UPDATE, if the row still is so: 1, or 0 if it is not
 *
 * Times are seconds of the epoch. "release" null: release_time is NULL. "set": {"run_count": N, "release_in":
 * seconds or null}, either or both.
 */
function coworker_settle() {
  fwrite(STDOUT, "coworker-settle {\"ready\":true}\n");
  while (($line = fgets(STDIN)) !== false) {
    $answer = array();
    try {
      foreach (json_decode($line, true) as $entry) {
        $answer['reports'][] = coworker_settle_one($entry);
      }
      $answer['now'] = (int) CRM_Core_DAO::singleValueQuery('SELECT UNIX_TIMESTAMP(NOW())');
    }
    catch (Throwable $error) {
      $answer = array('error' => $error->getMessage());
    }
    fwrite(STDOUT, 'coworker-settle ' . json_encode($answer, JSON_INVALID_UTF8_SUBSTITUTE) . "\n");
  }
}

function coworker_settle_one($entry) {
  $where = 'queue_name = %1';
  $params = array(1 => array($entry['queue'], 'String'));
  if (isset($entry['id'])) {
    $where .= ' AND id = %2';
    $params[2] = array((int) $entry['id'], 'Integer');
  }
  if (array_key_exists('release', $entry)) {
    if ($entry['release'] === null) {
      $where .= ' AND release_time IS NULL';
    }
    else {
      $where .= ' AND UNIX_TIMESTAMP(release_time) BETWEEN %3 AND %4';
      $params[3] = array((int) $entry['release'][0], 'Integer');
      $params[4] = array((int) $entry['release'][1], 'Integer');
    }
  }
  if (isset($entry['set'])) {
    return coworker_update($entry, $where, $params);
  }
  $rows = array();
  $found = CRM_Core_DAO::executeQuery('SELECT id, run_count, UNIX_TIMESTAMP(release_time) AS released'
    . " FROM civicrm_queue_item WHERE $where ORDER BY weight, id", $params);
  while ($found->fetch()) {
    $rows[] = array('id' => (string) $found->id, 'run_count' => (int) $found->run_count,
      'release_time' => $found->released === null ? null : (int) $found->released);
  }
  return isset($entry['id']) ? (isset($rows[0]) ? $rows[0] : null) : $rows;
}

function coworker_update($entry, $where, $params) {
  $params[5] = array((int) $entry['run_count'], 'Integer');
  $set = array();
  if (isset($entry['set']['run_count'])) {
    $set[] = 'run_count = %6';
    $params[6] = array((int) $entry['set']['run_count'], 'Integer');
  }
  if (array_key_exists('release_in', $entry['set'])) {
    if ($entry['set']['release_in'] === null) {
      $set[] = 'release_time = NULL';
    }
    else {
      $set[] = 'release_time = FROM_UNIXTIME(UNIX_TIMESTAMP(NOW()) + %7)';
      $params[7] = array((int) $entry['set']['release_in'], 'Integer');
    }
  }
  CRM_Core_DAO::executeQuery('UPDATE civicrm_queue_item SET ' . implode(', ', $set) . " WHERE $where AND run_count = %5", $params);
  return (int) CRM_Core_DAO::singleValueQuery('SELECT ROW_COUNT()');
}
