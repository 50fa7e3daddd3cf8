<?php

/** APIv4, as far as a queue agent needs it. */
class FakeApi {

  public function call($entity, $action, $params) {
    $method = strtolower("{$entity}_$action");
    if ($entity === 'QueueItem' && !Fake::config('queue_item')) {
      throw new CRM_Core_Exception("API ($entity, $action) does not exist (join the API team and implement it!)");
    }
    if (!method_exists($this, $method)) {
      throw new CRM_Core_Exception("Api $entity $action version 4 does not exist.");
    }
    return $this->$method($params);
  }

  private function domain_get($params) {
    $ids = empty($params['currentDomain']) ? Fake::config('domains') : [Fake::domain()];
    return array_map(function ($id) {
      return ['id' => $id, 'name' => 'Test', 'version' => CRM_Core_BAO_Domain::version(), 'now' => Store::time(time())];
    }, $ids);
  }

  private function contact_get($params) {
    return Fake::$contact === null ? [] : [['id' => Fake::$contact]];
  }

  private function setting_get($params) {
    return array_map(function ($name) {
      if ($name === 'core_maintenance_mode' && version_compare(Fake::config('version'), '6.1', '<')) {
        throw new CRM_Core_Exception('Unknown settings: core_maintenance_mode');
      }
      return ['name' => $name, 'value' => Fake::config($name, false), 'domain_id' => Fake::domain()];
    }, $params['select']);
  }

  private function authxcredential_create($params) {
    $until = time() + (isset($params['ttl']) ? $params['ttl'] : 300);
    return [['cred' => "Bearer jwt.{$params['contactId']}.$until"]];
  }

  private function queue_getfields($params) {
    return array_map(function ($name) { return ['name' => $name]; },
      ['id', 'name', 'type', 'runner', 'batch_limit', 'lease_time', 'retry_limit', 'retry_interval', 'status', 'error', 'is_template']);
  }

  private function queue_get($params) {
    $rows = Store::rows('SELECT * FROM civicrm_queue ORDER BY id');
    return array_values(array_filter($rows, function ($row) use ($params) {
      foreach (isset($params['where']) ? $params['where'] : [] as $clause) {
        list($field, $operator) = $clause;
        $value = isset($clause[2]) ? $clause[2] : null;
        if ($operator === 'IS NOT EMPTY' ? empty($row[$field]) : $row[$field] != $value) {
          return false;
        }
      }
      return true;
    }));
  }

  private function spec($name) {
    $queue = Store::row('SELECT * FROM civicrm_queue WHERE name = ?', [$name]);
    if (!$queue) {
      throw new CRM_Core_Exception("Failed to create queue \"$name\". Missing field \"type\".");
    }
    return $queue;
  }

  private function queue_claimitems($params) {
    if (empty($params['queue'])) {
      throw new CRM_Core_Exception('Missing required parameter: $queue');
    }
    if (Fake::config('claim_error')) {
      throw new CRM_Core_Exception(Fake::config('claim_error'));
    }
    $queue = $this->spec($params['queue']);
    if ($queue['status'] !== 'active' || Fake::config('queue_paused')) {
      return [];
    }
    return array_map(function ($row) use ($queue) {
      $data = json_decode($row['data'], true);
      $run_as = isset($data['runAs']) ? $data['runAs'] : null;
      return ['id' => (string) $row['id'], 'queue' => $queue['name'], 'run_as' => $run_as, 'data' => $data];
    }, $this->claim($queue));
  }

  private function claim($queue) {
    Store::$db->exec('BEGIN IMMEDIATE');
    $free = '(release_time IS NULL OR release_time < ' . time() . ')';
    $head = 'SELECT * FROM civicrm_queue_item WHERE queue_name = ?';
    $sql = $queue['type'] === 'Sql' ? "SELECT * FROM ($head ORDER BY weight, id LIMIT 1) WHERE $free"
      : "$head AND $free ORDER BY weight, id LIMIT " . (int) $queue['batch_limit'];
    $rows = Store::rows($sql, [$queue['name']]);
    foreach ($rows as $row) {
      Store::rows('UPDATE civicrm_queue_item SET run_count = run_count + 1, release_time = ? WHERE id = ?',
        [time() + $queue['lease_time'], $row['id']]);
    }
    Store::$db->exec('COMMIT');
    return $rows;
  }

  private function queue_run($params) {
    $count = function ($where) use ($params) {
      return Store::row("SELECT COUNT(*) AS n FROM civicrm_queue_item WHERE queue_name = ? AND $where", [$params['queue']])['n'];
    };
    return [['queue_ready' => $count('(release_time IS NULL OR release_time < ' . time() . ')'),
      'queue_blocked' => $count('release_time >= ' . time()), 'queue_total' => $count('1')]];
  }

  private function queue_runitems($params) {
    if (empty($params['items'])) {
      if (empty($params['queue'])) {
        throw new CRM_Core_Exception("runItems: Requires either 'queue' or 'item'.");
      }
      $params['items'] = $this->queue_claimitems(['queue' => $params['queue']]);
    }
    return $params['items'] ? (new TaskHandler($this->spec($params['items'][0]['queue'])))->run($params['items']) : [];
  }

  private function queueitem_get($params) {
    return (new Items())->get($params);
  }

  private function queueitem_update($params) {
    return (new Items())->update($params);
  }
}
