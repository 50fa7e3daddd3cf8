<?php

/** get, create, update, delete and getFields of Queue and QueueItem (since 6.4), in APIv4's shapes. */
class Items {
  const OPERATORS = ['=', '!=', '<', '<=', '>', '>=', 'LIKE', 'NOT LIKE'];
  const FIELDS = [
    'Queue' => ['id' => 'Integer', 'name' => 'String', 'type' => 'String', 'runner' => 'String', 'batch_limit' => 'Integer',
      'lease_time' => 'Integer', 'retry_limit' => 'Integer', 'retry_interval' => 'Integer', 'status' => 'String',
      'error' => 'String', 'is_template' => 'Boolean'],
    'QueueItem' => ['id' => 'Integer', 'queue_name' => 'String', 'weight' => 'Integer', 'submit_time' => 'Timestamp',
      'release_time' => 'Timestamp', 'run_count' => 'Integer', 'data' => 'Text'],
  ];
  // Known to getFields, but no columns.
  const EXTRA = ['Queue' => ['has_base' => 'Boolean', 'base_module' => 'String', 'local_modified_date' => 'Timestamp'],
    'QueueItem' => []];
  const REQUIRED = ['Queue' => ['name', 'type'], 'QueueItem' => ['queue_name']];

  private $entity;
  private $fields;
  private $table;
  private $values = [];

  public function __construct($entity) {
    $this->entity = $entity;
    $this->fields = self::FIELDS[$entity];
    $this->table = $entity === 'Queue' ? 'civicrm_queue' : 'civicrm_queue_item';
  }

  public function getFields($params) {
    $rows = [];
    foreach ($this->fields + self::EXTRA[$this->entity] as $name => $type) {
      $row = ['name' => $name, 'type' => isset($this->fields[$name]) ? 'Field' : 'Extra', 'data_type' => $type];
      $rows[] = empty($params['select']) ? $row : array_intersect_key($row, array_flip($params['select']));
    }
    return $rows;
  }

  public function get($params) {
    $columns = $this->columns(empty($params['select']) ? ['*'] : $params['select']);
    $groups = array_map([$this, 'field'], isset($params['groupBy']) ? $params['groupBy'] : []);
    $aggregate = $groups || array_filter($columns, function ($column) { return strpos($column[0], '(') && !$column[2]; });
    if (!$aggregate) {
      $columns = ['id' => ['id', 'Integer', false]] + $columns;  // APIv4 always shows the id
    }
    $sql = implode(', ', array_column($columns, 0) ?: ['1']);
    $sql = "SELECT $sql FROM {$this->table} WHERE " . $this->all(isset($params['where']) ? $params['where'] : []);
    $sql .= $groups ? ' GROUP BY ' . implode(', ', $groups) : '';
    $sql .= $this->order($params, $columns, $aggregate);
    $sql .= ' LIMIT ' . (empty($params['limit']) ? -1 : (int) $params['limit']);
    $sql .= ' OFFSET ' . (empty($params['offset']) ? 0 : (int) $params['offset']);
    return array_map(function ($values) use ($columns) {
      return array_combine(array_keys($columns), array_map([$this, 'shown'], $values, array_column($columns, 1)));
    }, Store::lists($sql, $this->values));
  }

  public function create($params) {
    $values = self::required($params, 'values');
    $missing = array_filter(self::REQUIRED[$this->entity], function ($name) use ($values) { return !isset($values[$name]); });
    if ($missing) {
      throw new CRM_Core_Exception("Mandatory values missing from Api4 {$this->entity}::create: " . implode(', ', $missing));
    }
    $stored = $this->stored($values) + ($this->entity === 'QueueItem' ? ['submit_time' => Fake::now()] : []);
    $marks = implode(', ', array_fill(0, count($stored), '?'));
    Store::rows("INSERT INTO {$this->table} (" . implode(', ', array_keys($stored)) . ") VALUES ($marks)", $stored);
    return [$this->told(Store::$db->lastInsertRowID(), $values)];
  }

  /** Selects, then updates by id: not atomic, as in CiviCRM. */
  public function update($params) {
    $values = self::required($params, 'values');
    unset($values['id']);
    $stored = $this->stored($values);
    $set = implode(', ', array_map(function ($name) { return "$name = ?"; }, array_keys($stored)));
    $ids = $this->ids($params);
    foreach ($set ? $ids : [] as $id) {
      Store::rows("UPDATE {$this->table} SET $set WHERE id = ?", array_merge(array_values($stored), [$id]));
    }
    return array_map(function ($id) use ($values) { return $this->told($id, $values); }, $ids);
  }

  public function delete($params) {
    return array_map(function ($id) {
      Store::rows("DELETE FROM {$this->table} WHERE id = ?", [$id]);
      return ['id' => $id];
    }, $this->ids($params));
  }

  public static function required($params, $name) {
    if (empty($params[$name])) {
      throw new CRM_Core_Exception("Parameter \"$name\" is required.");
    }
    return $params[$name];
  }

  private function ids($params) {
    $where = $this->all(self::required($params, 'where'));
    return array_column(Store::rows("SELECT id FROM {$this->table} WHERE $where", $this->values), 'id');
  }

  private function field($name) {
    if (!is_string($name) || !isset($this->fields[$name])) {
      throw new CRM_Core_Exception('Invalid field \'' . (is_string($name) ? $name : json_encode($name)) . "'");
    }
    return $name;
  }

  /** Name of the result's key => [SQL, type, whether it is the clock]; unknown fields are left out, as APIv4 does. */
  private function columns($select) {
    $columns = [];
    foreach ($select as $wanted) {
      if ($wanted === '*') {
        foreach ($this->fields as $name => $type) {
          $columns[$name] = [$name, $type, false];
        }
      }
      elseif (isset($this->fields[$wanted])) {
        $columns[$wanted] = [$wanted, $this->fields[$wanted], false];
      }
      elseif (preg_match('/^NOW\(\)(?:\s+AS\s+(\w+))?$/i', $wanted, $parts)) {
        $columns[isset($parts[1]) ? $parts[1] : 'NOW:'] = ['UNIX_TIMESTAMP(NOW())', 'Timestamp', true];
      }
      elseif (preg_match('/^(COUNT|MIN|MAX)\((DISTINCT\s+)?(\w+|\*)\)(?:\s+AS\s+(\w+))?$/i', $wanted, $parts)) {
        list(, $function, $distinct, $name) = $parts;
        $name === '*' || $this->field($name);
        $type = strtoupper($function) === 'COUNT' ? 'Integer' : $this->fields[$name];
        $columns[isset($parts[4]) ? $parts[4] : "$function:$name"] = ["$function($distinct$name)", $type, false];
      }
    }
    return $columns;
  }

  private function order($params, $columns, $aggregate) {
    $terms = [];
    foreach (isset($params['orderBy']) ? $params['orderBy'] : [] as $name => $direction) {
      $place = array_search($name, array_keys($columns), true);
      $terms[] = ($place === false ? $this->field($name) : $place + 1) . (strtoupper($direction) === 'DESC' ? ' DESC' : '');
    }
    if (!$terms && !$aggregate) {
      $terms = $this->entity === 'Queue' ? ['id'] : ['weight', 'id'];
    }
    return $terms ? ' ORDER BY ' . implode(', ', $terms) : '';
  }

  private function all($clauses) {
    return $clauses ? implode(' AND ', array_map([$this, 'one'], $clauses)) : '1';
  }

  private function one($clause) {
    if (in_array($clause[0], ['AND', 'OR', 'NOT'], true)) {
      $parts = implode($clause[0] === 'OR' ? ' OR ' : ' AND ', array_map([$this, 'one'], $clause[1]));
      return $clause[0] === 'NOT' ? "NOT ($parts)" : "($parts)";
    }
    $field = $this->field($clause[0]);
    $operator = isset($clause[1]) ? strtoupper($clause[1]) : '=';
    if (in_array($operator, ['IS NULL', 'IS NOT NULL'])) {
      return "$field $operator";
    }
    if (in_array($operator, ['IS EMPTY', 'IS NOT EMPTY'])) {
      $empty = ['String' => "''", 'Integer' => '0'];  // times are empty only when NULL
      $type = $this->fields[$field];
      $is = isset($empty[$type]) ? "coalesce($field, {$empty[$type]}) = {$empty[$type]}" : "$field IS NULL";
      return $operator === 'IS EMPTY' ? "($is)" : "NOT ($is)";
    }
    $values = isset($clause[2]) ? (array) $clause[2] : [null];
    foreach ($operator === 'CONTAINS' ? ["%{$values[0]}%"] : $values as $value) {
      $this->values[] = $this->compared($field, $value);
    }
    if (in_array($operator, ['IN', 'NOT IN'])) {
      return "$field $operator (" . implode(', ', array_fill(0, count($values), '?')) . ')';
    }
    if (in_array($operator, ['BETWEEN', 'NOT BETWEEN'])) {
      return "$field $operator ? AND ?";
    }
    if ($operator === 'CONTAINS') {
      return "$field LIKE ?";
    }
    if (!in_array($operator, self::OPERATORS)) {
      throw new CRM_Core_Exception("Illegal operator '$operator' for field '$field'");
    }
    return "$field $operator ?";
  }

  /** A value of the API as the store keeps it. */
  private function compared($field, $value) {
    if ($value === null) {
      return null;
    }
    switch ($this->fields[$field]) {
      case 'Timestamp':
        $time = strtotime($value);
        if ($time === false) {
          throw new CRM_Core_Exception("Field \"$field\" cannot be \"$value\"");
        }
        return $time;
      case 'Integer': return (int) $value;
      case 'Boolean': return (int) (bool) $value;
      case 'Text': return json_encode($value);
      default: return (string) $value;
    }
  }

  private function stored($values) {
    $known = array_intersect_key($values, $this->fields);
    foreach ($known as $name => $value) {
      $known[$name] = $this->compared($name, $value);
    }
    return $known;
  }

  /** A stored value as `get` shows it. CiviCRM never unserializes `data` for a reader. */
  private function shown($value, $type) {
    if ($type === 'Text') {
      return false;
    }
    if ($value === null) {
      return null;
    }
    return $type === 'Timestamp' ? Store::time($value) : ($type === 'Boolean' ? (bool) $value : $value);
  }

  /** What create and update answer: what was given, times without punctuation. */
  private function told($id, $values) {
    $told = ['id' => $id];
    foreach (array_intersect_key($values, $this->fields) as $name => $value) {
      $is_time = $this->fields[$name] === 'Timestamp' && $value !== null;
      $told[$name] = $is_time ? date('YmdHis', $this->compared($name, $value)) : $value;
    }
    return $told + ['custom' => null, 'check_permissions' => null];
  }
}
