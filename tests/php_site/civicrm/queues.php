<?php

/** A request, and the events that show it to listeners before and after it is carried out. */
class FakeRequest implements ArrayAccess {
  private $values;

  private $response;

  public function __construct($entity, $action, $params, $rows = []) {
    $this->values = ['version' => 4, 'entity' => $entity, 'action' => $action, 'params' => $params];
    $this->response = new ArrayObject($rows);
  }

  public function getResponse() {
    return $this->response;
  }

  public function rows() {
    return $this->response->getArrayCopy();
  }

  public function getQueue() {
    return isset($this->values['params']['queue']) ? $this->values['params']['queue'] : null;
  }

  public function getSelect() {
    return isset($this->values['params']['select']) ? $this->values['params']['select'] : [];
  }

  public function getApiRequest() {
    return $this;
  }

  public function getItems() {
    return isset($this->values['params']['items']) ? $this->values['params']['items'] : null;
  }

  #[ReturnTypeWillChange]
  public function offsetGet($name) {
    return $this->values[$name];
  }

  #[ReturnTypeWillChange]
  public function offsetExists($name) {
    return isset($this->values[$name]);
  }

  #[ReturnTypeWillChange]
  public function offsetSet($name, $value) {}

  #[ReturnTypeWillChange]
  public function offsetUnset($name) {}
}

/** APIv4, as far as a queue agent needs it. `$check`: whether the caller's own permissions count. */
class FakeApi {
  const CRUD = ['queue' => ['get', 'create', 'update', 'delete', 'getFields'],
    'queueitem' => ['get', 'create', 'update', 'delete', 'getFields']];
  const SETTINGS = ['environment', 'queue_paused', 'core_maintenance_mode', 'enableBackgroundQueue'];
  // Action => since which version.
  const SINCE = ['queue_run' => '5.67', 'queue_reset' => '6.0'];

  /** Settings of queues, remembered for the life of the process as CiviCRM does (contract A4). */
  private static $specs = [];
  private $check;

  public function __construct($check = false) {
    $this->check = $check;
  }

  public function call($entity, $action, $params) {
    if ($entity === 'QueueItem' && !Fake::config('queue_item')) {
      throw new CRM_Core_Exception("API ($entity, $action) does not exist (or the extension it belongs to is not enabled).");
    }
    $is_crud = self::crud($entity, $action);
    if (!$is_crud && !self::knows($entity, $action)) {
      throw new CRM_Core_Exception("Api $entity $action version 4 does not exist.");
    }
    if ($this->check && !in_array(Fake::$contact, Fake::config('admins'))) {
      throw new CRM_Core_Exception("Authorization failed: CiviCRM APIv4 ($entity::$action)");
    }
    Store::check();
    Civi::dispatcher()->dispatch('civi.api.prepare', new FakeRequest($entity, $action, $params));
    $rows = $is_crud ? (new Items($entity))->$action($params) : $this->{strtolower("{$entity}_$action")}($params);
    $rows = Civi::dispatcher()->dispatch('civi.api.respond', new FakeRequest($entity, $action, $params, $rows))->rows();
    if ($this->check && $entity === 'QueueItem') {
      foreach ($rows as &$row) {
        unset($row['data']);  // never shown to anybody who is asked for permissions
      }
    }
    return $rows;
  }

  private static function crud($entity, $action) {
    return isset(self::CRUD[strtolower($entity)]) && in_array($action, self::CRUD[strtolower($entity)], true);
  }

  public static function knows($entity, $action) {
    $method = strtolower("{$entity}_$action");
    $is_old = isset(self::SINCE[$method]) && version_compare(Fake::config('version'), self::SINCE[$method], '<');
    return self::crud($entity, $action) || (method_exists(__CLASS__, $method) && !$is_old);
  }

  // --- Domain, Setting, Contact, AuthxCredential ---

  private function domain_get($params) {
    $ids = empty($params['currentDomain']) ? Fake::config('domains') : [Fake::domain()];
    return array_map(function ($id) use ($params) {
      $row = ['id' => $id, 'name' => 'Test', 'version' => CRM_Core_BAO_Domain::version(), 'now' => Store::time(Fake::now())];
      $wanted = array_map(function ($name) { return preg_replace('/^.* AS /', '', $name); },
        empty($params['select']) ? array_keys($row) : $params['select']);
      return array_intersect_key($row, array_flip($wanted) + ['id' => 1]);
    }, $ids);
  }

  /** The setting `user_jobs` is {id: queue's name, null before it has one}. */
  private function userjob_get($params) {
    $rows = [];
    foreach (Fake::config('user_jobs') as $id => $queue) {
      $rows[] = ['id' => (int) $id, 'queue_id.name' => $queue];
    }
    foreach (isset($params['where']) ? $params['where'] : [] as list($field, , $names)) {
      $rows = array_filter($rows, function ($row) use ($field, $names) { return in_array($row[$field], $names, true); });
    }
    return array_values($rows);
  }

  private function contact_get($params) {
    return Fake::$contact === null ? [] : [['id' => Fake::$contact]];
  }

  private function setting_get($params) {
    $names = empty($params['select']) ? self::SETTINGS : $params['select'];
    $this->check_settings($names);
    return array_map(function ($name) {
      return ['name' => $name, 'value' => Fake::setting($name), 'domain_id' => Fake::domain()];
    }, $names);
  }

  private function setting_set($params) {
    $values = Items::required($params, 'values');
    $this->check_settings(array_keys($values));
    $rows = [];
    foreach ($values as $name => $value) {
      Fake::set($name, $value);
      $rows[] = ['name' => $name, 'value' => $value, 'domain_id' => Fake::domain()];
    }
    return $rows;
  }

  private function check_settings($names) {
    $is_old = version_compare(Fake::config('version'), '6.0', '<');
    $unknown = array_diff($names, array_diff(self::SETTINGS, $is_old ? ['core_maintenance_mode'] : []));
    if ($unknown) {
      throw new CRM_Core_Exception('Unknown settings for domain ' . Fake::domain() . ': ' . implode(', ', $unknown));
    }
  }

  private function authxcredential_create($params) {
    $until = time() + (isset($params['ttl']) ? $params['ttl'] : 300);
    return [['cred' => "Bearer jwt.{$params['contactId']}.$until"]];
  }

  // --- Queue ---

  public static function spec($name) {
    if (isset(self::$specs[$name])) {
      return self::$specs[$name];
    }
    $queue = Store::row('SELECT * FROM civicrm_queue WHERE name = ?', [$name]);
    $problem = null;
    if (!$queue) {
      $problem = 'Missing field "type".';
    }
    elseif ($queue['runner'] && !in_array($queue['status'], ['active', 'completed', 'draft', 'aborted'])) {
      $problem = "Invalid queue status \"{$queue['status']}\".";
    }
    elseif ($queue['runner'] === 'task' && !in_array($queue['error'], ['delete', 'abort'])) {
      $problem = "Invalid error mode \"{$queue['error']}\".";
    }
    if ($problem) {
      throw new CRM_Core_Exception("Failed to create queue \"$name\". $problem");
    }
    return self::$specs[$name] = $queue;
  }

  /** Always fresh; "paused" is no status that Queue.get shows. */
  private function status($name) {
    if (Fake::setting('queue_paused', true)) {
      return 'paused';
    }
    $row = Store::row('SELECT status FROM civicrm_queue WHERE name = ?', [$name]);
    return $row ? $row['status'] : null;
  }

  private function queue_claimitems($params) {
    if (empty($params['queue'])) {
      throw new CRM_Core_Exception('Missing required parameter: $queue');
    }
    $select = empty($params['select']) ? ['id', 'data', 'queue'] : $params['select'];
    return array_map(function ($row) use ($params, $select) {
      $data = json_decode($row['data'], true);
      $all = ['id' => (string) $row['id'], 'queue' => $params['queue'], 'data' => $data,
        'run_as' => isset($data['runAs']) ? $data['runAs'] : null];
      return array_intersect_key(array_merge(array_flip(array_intersect($select, array_keys($all))), $all), array_flip($select));
    }, $this->claim(self::spec($params['queue'])));
  }

  /** Leases the first free items and counts a try for each; of a linear queue its head or nothing. */
  private function claim($queue) {
    if (Fake::config('claim_error')) {
      throw new CRM_Core_Exception(Fake::config('claim_error'));
    }
    if ($this->status($queue['name']) !== 'active') {
      return [];
    }
    $is_linear = $queue['type'] === 'Sql';
    if ($is_linear && $queue['batch_limit'] > 1) {
      throw new CRM_Core_Exception("Queue \"{$queue['name']}\" (CRM_Queue_Queue_Sql) does not support batching.");
    }
    Store::$db->exec('BEGIN IMMEDIATE');
    $free = '(release_time IS NULL OR release_time < ' . Fake::now() . ')';
    $head = 'SELECT * FROM civicrm_queue_item WHERE queue_name = ?';
    $sql = $is_linear ? "SELECT * FROM ($head ORDER BY weight, id LIMIT 1) WHERE $free"
      : "$head AND $free ORDER BY weight, id LIMIT " . ((int) $queue['batch_limit'] ?: 1);
    $rows = Store::rows($sql, [$queue['name']]);
    $end = Fake::now() + ($queue['lease_time'] ?: 3600);  // one moment for all of them (contract A5)
    foreach ($rows as $row) {
      Store::rows('UPDATE civicrm_queue_item SET run_count = run_count + 1, release_time = ? WHERE id = ?',
        [$end, $row['id']]);
    }
    Store::$db->exec('COMMIT');
    return $rows;
  }

  private function queue_runitems($params) {
    if (!empty($params['items'])) {
      list($name, $ids) = $this->stubs($params['items']);
      return $this->run_claimed(self::spec($name), $ids);
    }
    if (empty($params['queue'])) {
      throw new CRM_Core_Exception("runItems: Requires either 'queue' or 'item'.");
    }
    $queue = self::spec($params['queue']);
    $is_active = $this->status($queue['name']) === 'active';
    $ids = $is_active ? array_column($this->claim($queue), 'id') : [];
    // CiviCRM trips over its own empty hands in a linear queue.
    return $ids || ($is_active && $queue['type'] === 'Sql') ? $this->run_claimed($queue, $ids ?: [0]) : [];
  }

  /** The queue and the ids of [{id, queue}, …]. */
  private function stubs($items) {
    foreach ($items as $item) {
      foreach (['queue', 'id'] as $name) {
        if (empty($item[$name])) {
          throw new CRM_Core_Exception("Queue item requires property '$name'.");
        }
      }
    }
    $queues = array_unique(array_column($items, 'queue'));
    if (count($queues) > 1) {
      throw new CRM_Core_Exception('Queue items cannot be mixed. Found queues: ' . implode(', ', $queues));
    }
    return [$queues[0], array_column($items, 'id')];
  }

  /** Items are fetched again by id; neither status nor lease is looked at (contract A3). */
  private function run_claimed($queue, $ids) {
    if (count($ids) > 1 && $queue['type'] === 'Sql') {
      throw new CRM_Core_Exception('runItems: Error: Running multiple items requires BatchQueueInterface');
    }
    if (!preg_match('/^\w+$/', (string) $queue['runner'])) {
      throw new CRM_Core_Exception("Cannot autorun queue: {$queue['name']}");
    }
    return (new TaskHandler($queue))->run($ids);
  }

  private function queue_run($params) {
    $name = Items::required($params, 'queue');
    $queue = self::spec($name);
    $limit = isset($params['maxRequests']) ? $params['maxRequests'] : 10;
    $until = microtime(true) + (isset($params['maxDuration']) ? $params['maxDuration'] : 120);
    $start = microtime(true);
    $requests = $good = $bad = 0;
    while (true) {
      $status = $this->status($name);
      if ($status !== 'active' || $requests >= $limit || microtime(true) >= $until) {
        $message = $status !== 'active' ? "Queue is not active (status => $status)"
          : ($requests >= $limit ? "Reached request limit ($limit)" : "Reached duration limit ({$params['maxDuration']})");
        break;
      }
      $requests++;
      $ids = array_column($this->claim($queue), 'id');
      if (!$ids) {
        $message = 'No claimable items';
        break;
      }
      foreach ($this->run_claimed($queue, $ids) as $result) {
        $result['outcome'] === 'ok' ? $good++ : $bad++;
      }
    }
    $found = Store::row('SELECT coalesce(sum(release_time IS NULL OR release_time <= ?), 0) AS ready, count(*) AS total'
      . ' FROM civicrm_queue_item WHERE queue_name = ?', [Fake::now(), $name]);
    return [['loop_duration' => sprintf('%.3F', microtime(true) - $start), 'loop_requests' => $requests,
      'item_successes' => $good, 'item_errors' => $bad, 'queue_ready' => $found['ready'],
      'queue_blocked' => $found['total'] - $found['ready'], 'queue_total' => $found['total'], 'exit_message' => $message]];
  }

  private function queue_reset($params) {
    $queue = self::spec(Items::required($params, 'queue'));
    Store::rows('DELETE FROM civicrm_queue_item WHERE queue_name = ?', [$queue['name']]);
    return [['items' => Store::$db->changes()]];
  }
}
