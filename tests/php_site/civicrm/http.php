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
  list($kind, $more) = explode(' ', "$fault ");
  switch ($kind) {
    case '429': header('Retry-After: ' . Fake::config('retry_after')); answer(429, 'Too many', 'text/plain');
    case 'hang': sleep(60); exit;
    case 'redirect': header("Location: $more"); answer(302, '', 'text/html');
    case 'huge': answer(200, str_repeat(' ', 17 << 20));
    case '503': answer(503, ['status_code' => 503, 'status_message' => 'Site is in maintenance mode']);
    case 'page': page();
    default: answer((int) $kind, '<html><body>Bad gateway</body></html>', 'text/html');
  }
}

function authenticate() {
  $given = header_of('X-Civi-Auth') ?: header_of('Authorization');
  if ($given === null) {
    return;
  }
  if (!header_of('X-Civi-Auth') && header_of('X-Requested-With') !== 'XMLHttpRequest') {
    answer(400, ['error_code' => 400,
      'error_message' => 'SECURITY ALERT: Ajax requests can only be issued by javascript clients, eg. CRM.api4().']);
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

function call($entity, $action, $params) {
  $allowed = in_array(Fake::$contact, Fake::config('admins'));
  if (!$allowed && $entity !== 'Contact') {
    return ['error_code' => '1', 'status' => 403,
      'error_message' => 'Sorry an error occurred and your request was not completed. (Error ID: qcJX-jfBk-afce)'];
  }
  try {
    $values = (new FakeApi())->call($entity, $action, $params);
    return ['values' => $values, 'entity' => $entity, 'action' => $action, 'debug' => null, 'version' => 4,
      'count' => count($values), 'countFetched' => count($values)];
  }
  catch (Exception $error) {
    return ['error_id' => 'Gm3l-cvsp-mFiG', 'error_code' => 0, 'error_message' => $error->getMessage(), 'status' => 500];
  }
}

CRM_Core_Config::singleton();
$route = isset($_GET['q']) ? $_GET['q'] : trim(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH), '/');
if (!preg_match(';^civicrm/ajax/api4(?:/(\w+)/(\w+))?$;', $route, $parts)) {
  page();
}
if (Fake::config('core_maintenance_mode')) {
  answer(503, ['status_code' => 503, 'status_message' => 'Site is in maintenance mode']);
}
fault($route);
authenticate();
if (empty($parts[1])) {
  $answers = [];
  foreach (json_decode($_POST['calls'], true) as $key => $one) {
    $answers[$key] = call($one[0], $one[1], $one[2]);
  }
  answer(200, (object) $answers);
}
if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
  answer(405, ['error_code' => 405,
    'error_message' => 'SECURITY: All requests that modify the database must be http POST, not GET.']);
}
$result = call($parts[1], $parts[2], isset($_POST['params']) ? json_decode($_POST['params'], true) : []);
answer(isset($result['status']) ? $result['status'] : 200, $result);
