<?php

/** Civi::pipe (contract A1, A2). */
class PipeSession {
  private $options = ['apiCheckPermissions' => true, 'apiError' => 'exception', 'bufferSize' => 524288, 'responsePrefix' => null];
  private $trusted = null;

  public function serve($flags) {
    $header = [];
    foreach (str_split($flags) as $flag) {
      $header += $this->flag($flag);
    }
    if (isset($header['t'], $header['u'])) {
      throw new Exception('Both trusted and untrusted');
    }
    fwrite(STDOUT, json_encode(['Civi::pipe' => $header ?: null]) . "\n");
    while (!feof(STDIN) && ($line = stream_get_line(STDIN, $this->options['bufferSize'], "\n")) !== false) {
      if (!empty($line)) {
        $answer = json_encode($this->answer(json_decode($line, true)));
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

  private function answer($request) {
    if ($request === null) {
      return $this->error(-32700, 'Parse error', []);
    }
    if (is_array($request) && isset($request[0])) {
      return array_map([$this, 'answer'], $request);
    }
    if (!is_array($request) || !isset($request['method']) || $request['jsonrpc'] !== '2.0') {
      return $this->error(-32600, 'Invalid Request', is_array($request) ? $request : []);
    }
    $params = isset($request['params']) ? $request['params'] : [];
    if (!is_array($params)) {
      return $this->error(-32602, 'Invalid params', $request);
    }
    if (!in_array($request['method'], ['echo', 'options', 'login', 'api4'])) {
      return $this->error(-32601, 'Method not found', $request);
    }
    try {
      $result = $this->{'do_' . $request['method']}($params);
      return ['jsonrpc' => '2.0', 'result' => $result] + (isset($request['id']) ? ['id' => $request['id']] : []);
    }
    catch (Throwable $error) {
      return $this->error(-32099, $error->getMessage(), $request);
    }
  }

  private function error($code, $message, $request) {
    $error = ['code' => $code, 'message' => $message, 'data' => null];
    return ['jsonrpc' => '2.0', 'error' => $error] + (isset($request['id']) ? ['id' => $request['id']] : []);
  }

  private function do_echo($params) {
    return $params;
  }

  private function do_options($params) {
    $known = array_intersect_key($params, $this->options);
    $this->options = array_merge($this->options, $known);
    return $params ? $known : $this->options;
  }

  /** One identity for the life of the pipe. */
  private function do_login($params) {
    if (!Fake::config('authx', false)) {
      throw new Exception('Cannot authenticate. Authx is not configured.');
    }
    if (!$this->trusted) {
      throw new Exception('Session is not trusted.');
    }
    if (empty($params['contactId'])) {
      throw new Exception('Cannot authenticate. Must specify principal/credentials.');
    }
    $contact = Store::row('SELECT * FROM civicrm_contact WHERE id = ?', [(int) $params['contactId']]);
    if (!$contact) {
      throw new Exception("Contact ID {$params['contactId']} is invalid");
    }
    if ($contact['is_blocked']) {
      throw new Exception('Cannot login. The user account is blocked.');
    }
    if (Fake::$contact !== null && ($contact['user_id'] === null || Fake::$contact !== $contact['id'])) {
      throw new Exception('Cannot login. A mismatched session is already active.');
    }
    Fake::$contact = $contact['id'];
    Fake::$user = $contact['user_id'];
    return ['contactId' => $contact['id']] + ($contact['user_id'] === null ? [] : ['userId' => $contact['user_id']]);
  }

  private function do_api4($params) {
    list($entity, $action, $values) = $params + [null, null, []];
    $checks = isset($values['checkPermissions']) ? $values['checkPermissions'] : $this->options['apiCheckPermissions'];
    if (($checks || !$this->trusted) && !in_array(Fake::$contact, Fake::config('admins'))) {
      throw new Exception("Authorization failed: CiviCRM APIv4 ($entity::$action)");
    }
    return (new FakeApi())->call($entity, $action, $values);
  }
}
