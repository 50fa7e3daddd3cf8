<?php

/** The QueueItem API (since 6.4). */
class Items {
  private $values = [];

  public function get($params) {
    $select = isset($params['select']) ? $params['select'] : ['id', 'queue_name', 'run_count', 'release_time'];
    $where = $this->all(isset($params['where']) ? $params['where'] : []);
    if (isset($params['groupBy'])) {
      return Store::rows("SELECT queue_name, COUNT(*) AS n FROM civicrm_queue_item WHERE $where GROUP BY queue_name", $this->values);
    }
    $limit = isset($params['limit']) ? ' LIMIT ' . (int) $params['limit'] : '';
    $rows = Store::rows("SELECT * FROM civicrm_queue_item WHERE $where ORDER BY weight, id$limit", $this->values);
    return array_map(function ($row) use ($select) {
      $row['release_time'] = Store::time($row['release_time']);
      $row['now'] = Store::time(time());
      $wanted = array_map(function ($name) { return preg_replace('/^.* AS /', '', $name); }, $select);
      return array_intersect_key($row, array_flip($wanted));
    }, $rows);
  }

  public function update($params) {
    $where = $this->all($params['where']);
    $ids = array_column(Store::rows("SELECT id FROM civicrm_queue_item WHERE $where", $this->values), 'id');
    foreach ($ids as $id) {
      foreach ($params['values'] as $name => $value) {
        $value = $name === 'release_time' && $value !== null ? strtotime($value) : $value;
        Store::rows("UPDATE civicrm_queue_item SET $name = ? WHERE id = ?", [$value, $id]);
      }
    }
    return array_map(function ($id) { return ['id' => $id]; }, $ids);
  }

  private function all($clauses) {
    return $clauses ? implode(' AND ', array_map([$this, 'one'], $clauses)) : '1';
  }

  private function one($clause) {
    if ($clause[0] === 'OR') {
      return '(' . implode(' OR ', array_map([$this, 'one'], $clause[1])) . ')';
    }
    list($field, $operator) = $clause;
    if ($operator === 'IS NULL') {
      return "$field IS NULL";
    }
    $values = is_array($clause[2]) ? $clause[2] : [$clause[2]];
    foreach ($values as $value) {
      $this->values[] = $field === 'release_time' ? strtotime($value) : (is_numeric($value) ? (int) $value : $value);
    }
    if ($operator === 'IN') {
      return "$field IN (" . implode(', ', array_fill(0, count($values), '?')) . ')';
    }
    return $operator === 'BETWEEN' ? "$field BETWEEN ? AND ?" : "$field $operator ?";
  }
}
