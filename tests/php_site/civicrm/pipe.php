<?php

/** An error with a code of JSON-RPC. */
class PipeError extends Exception {}

/** Civi::pipe (contract A1, A2; transcripts, protocol). */
class PipeSession {
  private $options = ['apiCheckPermissions' => true, 'apiError' => 'exception', 'bufferSize' => 524288, 'responsePrefix' => null];
  private $trusted = null;

  public function serve($flags) {
    $header = [];
    foreach ($flags === '' ? [] : str_split($flags) as $flag) {
      $header += $this->flag($flag);
    }
    if (array_key_exists('t', $header) && array_key_exists('u', $header)) {
      throw new Exception('Pipe: Cannot be both trusted and untrusted');
    }
    fwrite(STDOUT, json_encode(['Civi::pipe' => $header ?: null]) . "\n");
    while (!feof(STDIN) && ($line = stream_get_line(STDIN, $this->options['bufferSize'], "\n")) !== false) {
      if (!empty($line)) {
        // What cannot be encoded is an empty line.
        $answer = json_encode($this->respond($line));
        fwrite(STDOUT, $this->options['responsePrefix'] . $answer . "\n");
      }
    }
  }

  private function flag($flag) {
    switch ($flag) {
      case 'v': return ['v' => Fake::config('version', false)];
      case 't': $this->trusted = true; return ['t' => 'trusted'];
      case 'u': $this->trusted = false; return ['u' => 'untrusted'];
      case 'l': return ['l' => [Fake::config('authx', false) ? 'login' : 'nologin']];
      case 'j': return ['j' => ['jsonrpc-2.0']];
      default: return [$flag => null];
    }
  }

  private function respond($line) {
    $request = json_decode($line, true);
    if ($request === null) {
      return $this->error(-32700, 'Parse error', []);
    }
    if (is_array($request) && isset($request[0])) {
      return array_map([$this, 'handle'], $request);
    }
    if (is_array($request) && isset($request['method'])) {
      return $this->handle($request);
    }
    return $this->error(-32600, 'Invalid Request', []);
  }

  private function handle($request) {
    if (!is_array($request)) {
      return $this->error(-32600, 'Invalid Request', []);
    }
    try {
      $response = ['jsonrpc' => '2.0', 'result' => $this->dispatch($request)];
      return $response + array_intersect_key($request, ['id' => 1]);
    }
    catch (Throwable $error) {
      return $this->error($error instanceof PipeError ? $error->getCode() : -32099, $error->getMessage(), $request);
    }
  }

  private function dispatch($request) {
    $version = isset($request['jsonrpc']) ? $request['jsonrpc'] : null;
    if ($version !== '2.0' || !isset($request['method']) || !is_string($request['method'])) {
      throw new PipeError('Invalid Request', -32600);
    }
    $params = isset($request['params']) ? $request['params'] : [];
    if (!is_array($params)) {
      throw new PipeError('Invalid params', -32602);
    }
    $method = str_replace('.', '_', $request['method']);
    if (!in_array($method, ['echo', 'options', 'login', 'api3', 'api4'], true)) {
      throw new PipeError('Method not found', -32601);
    }
    return $this->{"do_$method"}($params);
  }

  private function error($code, $message, $request) {
    $error = ['code' => $code, 'message' => $message, 'data' => null];
    $version = empty($request['jsonrpc']) ? '2.0' : $request['jsonrpc'];
    return ['jsonrpc' => $version, 'error' => $error] + array_intersect_key($request, ['id' => 1]);
  }

  /** Whoever asked for neither `t` nor `u` finds out here. */
  private function isTrusted() {
    if ($this->trusted === null) {
      throw new TypeError('Civi\Pipe\PipeSession::isTrusted(): Return value must be of type bool, null returned');
    }
    return $this->trusted;
  }

  private function do_echo($params) {
    return $params;
  }

  private function do_options($params) {
    $trusted = $this->isTrusted();
    $known = array_intersect_key($params, $this->options);
    if (!$trusted) {
      unset($known['apiCheckPermissions']);
    }
    if (isset($known['bufferSize']) && (!is_int($known['bufferSize']) || $known['bufferSize'] < 1)) {
      throw new TypeError('setBufferSize(): Argument #1 ($bufferSize) must be of type int');
    }
    if (isset($known['responsePrefix']) && !is_string($known['responsePrefix'])) {
      throw new TypeError('setResponsePrefix(): Argument #1 ($responsePrefix) must be of type ?string');
    }
    $this->options = array_merge($this->options, $known);
    return $params ? $known : $this->options;
  }

  /** One identity for the life of the pipe. */
  private function do_login($params) {
    if (!Fake::config('authx', false)) {
      throw new Exception('Cannot authenticate. Authx is not configured.');
    }
    $principal = array_intersect_key($params, ['contactId' => 1, 'userId' => 1, 'user' => 1]);
    if ($principal && !$this->isTrusted()) {
      throw new Exception('Session is not trusted.');
    }
    if (!$principal) {
      throw new Exception(isset($params['cred']) ? 'Invalid credential'
        : 'Cannot authenticate. Must specify principal/credentials.');
    }
    $contact = $this->find($principal);
    if ($contact['is_blocked']) {
      throw new Exception('Cannot login. The user account is blocked.');
    }
    if (Fake::$contact !== null && ($contact['user_id'] === null || Fake::$contact !== $contact['id'])) {
      throw new Exception('Cannot login. A mismatched session is already active.');
    }
    Fake::$contact = $contact['id'];
    Fake::$user = $contact['user_id'];
    CRM_Core_Session::singleton()->set('ufID', $contact['user_id']);
    if ($zone = Fake::config('contact_zone')) {  // that of the contact who has logged in
      date_default_timezone_set($zone);
    }
    return ['contactId' => $contact['id']] + ($contact['user_id'] === null ? [] : ['userId' => $contact['user_id']]);
  }

  private function find($principal) {
    if (!empty($principal['contactId'])) {
      $contact = Store::row('SELECT * FROM civicrm_contact WHERE id = ?', [(int) $principal['contactId']]);
      $problem = "Contact ID {$principal['contactId']} is invalid";
    }
    elseif (!empty($principal['userId'])) {
      $contact = Store::row('SELECT * FROM civicrm_contact WHERE user_id = ?', [(int) $principal['userId']]);
      $problem = 'Cannot login. Failed to determine contact ID.';
    }
    else {
      throw new Exception('Must specify principal with valid user, userId, or contactId');
    }
    if (!$contact) {
      throw new Exception($problem);
    }
    return $contact;
  }

  private function do_api3($params) {
    $this->isTrusted();
    list($entity, $action) = $params + ['', ''];
    throw new Exception("API ($entity, $action) does not exist (join the API team and implement it!)");
  }

  private function do_api4($params) {
    $trusted = $this->isTrusted();
    list($entity, $action, $values) = $params + ['', '', []];
    $checks = isset($values['checkPermissions']) ? $values['checkPermissions'] : $this->options['apiCheckPermissions'];
    try {
      return (new FakeApi($checks || !$trusted))->call($entity, $action, $values ?: []);
    }
    catch (Exception $error) {
      if ($this->options['apiError'] !== 'array') {
        throw $error;
      }
      return ['error_code' => 0, 'error_message' => $error->getMessage(), 'is_error' => 1];
    }
  }
}
