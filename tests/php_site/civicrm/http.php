<?php
/**
 * APIv4 over HTTP with authx, as http.txt of the transcripts shows it. Router of PHP's built-in server; the settings
 * file is named by FAKE_SETTINGS.
 */
require_once getenv('FAKE_SETTINGS');
require_once __DIR__ . '/core.php';

function answer($status, $value, $type = 'application/json; charset=UTF-8') {
  http_response_code($status);
  header("Content-Type: $type");
  echo is_string($value) ? $value : json_encode($value);
  exit;
}

function page() {
  answer(200, '<!DOCTYPE html><html><head><title>test</title></head><body><h1>The home page</h1></body></html>',
    'text/html; charset=UTF-8');
}

/** What CiviCRM makes of an error outside of its API: a page, with status 200. */
function fatal($message) {
  $style = '<style media="screen">body { background-color: #ffffcc; }</style>';
  answer(200, $style . '<div class="crm-fatal">' . htmlspecialchars($message) . '</div>', 'text/html; charset=UTF-8');
}

function masked() {
  return 'Sorry an error occurred and your request was not completed. (Error ID: qcJX-jfBk-afce)';
}

function header_of($name) {
  $key = 'HTTP_' . strtoupper(str_replace('-', '_', $name));
  return isset($_SERVER[$key]) ? $_SERVER[$key] : null;
}

/** Faults on purpose. */
function fault($route) {
  $fault = Fake::config('http_fault');
  if (!$fault || strpos("$route " . (isset($_POST['calls']) ? $_POST['calls'] : ''), Fake::config('http_fault_on')) === false) {
    return;
  }
  list($kind, $more) = preg_split('/[ :]/', "$fault ", 2);
  $more = trim($more);
  switch ($kind) {
    case '429': header('Retry-After: ' . Fake::config('retry_after')); answer(429, 'Too many', 'text/plain');
    case 'hang': sleep(60); exit;
    case 'redirect': header("Location: $more"); answer(302, '', 'text/html');
    case 'huge': answer(200, str_repeat(' ', 17 << 20));
    case '503':
      if (Fake::config('retry_after') > 1) {
        header('Retry-After: ' . Fake::config('retry_after'));
      }
      answer(503, ['status_code' => 503, 'status_message' => 'Site is in maintenance mode']);
    case 'page': page();
    case '401': answer(401, 'HTTP 401 Invalid credential', 'text/plain;charset=UTF-8');
    default: answer((int) $kind, '<html><body>Bad gateway</body></html>', 'text/html');
  }
}

function authenticate() {
  $key = Fake::config('site_key');
  if ($key !== null && header_of('X-Civi-Key') !== $key) {
    answer(401, 'HTTP 401 Missing required site key', 'text/plain;charset=UTF-8');
  }
  $own = header_of('X-Civi-Auth') ?: (isset($_REQUEST['_authx']) ? $_REQUEST['_authx'] : null);
  if (!$own && header_of('X-Requested-With') !== 'XMLHttpRequest') {
    answer(400, ['error_code' => 400,
      'error_message' => 'SECURITY ALERT: Ajax requests can only be issued by javascript clients, eg. CRM.api4().']);
  }
  $given = $own ?: header_of('Authorization');
  if ($given === null) {
    return;
  }
  $token = preg_replace('/^Bearer /', '', $given);
  $tokens = Fake::config('tokens');
  if (isset($tokens[$token])) {
    Fake::$contact = $tokens[$token];
  }
  elseif (preg_match('/^jwt\.(\d+)\.(\d+)$/', $token, $parts) && $parts[2] > time()) {
    Fake::$contact = (int) $parts[1];
  }
  else {
    answer(401, 'HTTP 401 Invalid credential', 'text/plain;charset=UTF-8');
  }
}

/** Over HTTP permissions always count, and only administrators see what an error says. */
function call($entity, $action, $params) {
  $is_admin = in_array(Fake::$contact, Fake::config('admins'));
  if (!$is_admin && $entity !== 'Contact') {
    return ['error_code' => '1', 'error_message' => masked(), 'status' => 403];
  }
  try {
    $values = (new FakeApi($entity !== 'Contact'))->call($entity, $action, $params);
    return ['values' => $values, 'entity' => $entity, 'action' => $action, 'debug' => null, 'version' => 4,
      'count' => count($values), 'countFetched' => count($values)];
  }
  catch (Exception $error) {
    $message = $is_admin ? $error->getMessage() : masked();
    return ['error_id' => 'Gm3l-cvsp-mFiG', 'error_code' => 0, 'error_message' => $message, 'status' => 500];
  }
}

function decoded($name) {
  $value = json_decode($_REQUEST[$name], true);
  if (!is_array($value)) {
    fatal("$name is not JSON");
  }
  return $value;
}

/**
 * Several calls in order, under their keys, which are a PHP array's: 0, 1, … come back as a list. The status is an error's
 * only if none of them went well.
 */
function call_all() {
  $answers = [];
  foreach (decoded('calls') as $key => $one) {
    $answers[$key] = call($one[0], $one[1], isset($one[2]) ? $one[2] : []);
  }
  $failed = array_column($answers, 'status');
  answer(count($failed) === count($answers) && $failed ? $failed[0] : 200, $answers);
}

CRM_Core_Config::singleton();
$route = isset($_GET['q']) ? $_GET['q'] : trim(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH), '/');
if (!preg_match(';^civicrm/(?:authx/id|ajax/api4(?:/(\w+)/(\w+))?)$;', $route, $parts)) {
  page();
}
if (Fake::setting('core_maintenance_mode', true)) {
  answer(503, ['status_code' => 503, 'status_message' => 'Site is in maintenance mode']);
}
fault($route);
authenticate();
if ($route === 'civicrm/authx/id') {
  $contact = Store::row('SELECT user_id FROM civicrm_contact WHERE id = ?', [Fake::$contact]);
  answer(200, ['contact_id' => Fake::$contact, 'user_id' => $contact ? $contact['user_id'] : null,
    'flow' => header_of('X-Civi-Auth') ? 'xheader' : 'header', 'cred' => 'api_key']);
}
$is_read = isset($parts[2]) && strpos($parts[2], 'get') === 0;
if ($_SERVER['REQUEST_METHOD'] !== 'POST' && !$is_read) {
  answer(405, ['error_code' => 405,
    'error_message' => 'SECURITY: All requests that modify the database must be http POST, not GET.']);
}
try {
  if (empty($parts[1])) {
    isset($_REQUEST['calls']) ? call_all() : fatal('No calls');
  }
  $params = isset($_REQUEST['params']) ? decoded('params') : [];
  if (Fake::$contact !== null && in_array($parts[1], ['Queue', 'QueueItem']) && !FakeApi::knows($parts[1], $parts[2])) {
    fatal("Api $parts[1] $parts[2] version 4 does not exist.");
  }
  $result = call($parts[1], $parts[2], $params);
  answer(isset($result['status']) ? $result['status'] : 200, $result);
}
catch (Error $error) {
  answer(500, '<html><body>There has been a critical error on this website.</body></html>', 'text/html; charset=UTF-8');
}
