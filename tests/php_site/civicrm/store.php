<?php

/** The SQLite file. Times in it are seconds of the epoch; MySQL's functions are given the sense that fits. */
class Store {
  public static $db;

  public static function open($path) {
    self::$db = new SQLite3($path, SQLITE3_OPEN_READWRITE);
    self::$db->enableExceptions(true);
    self::$db->busyTimeout(10000);
    self::$db->exec('PRAGMA synchronous = NORMAL');
    self::$db->createFunction('NOW', function () { return time(); });
    self::$db->createFunction('UNIX_TIMESTAMP', function ($time) { return $time; });
    self::$db->createFunction('FROM_UNIXTIME', function ($time) { return $time; });
    self::$db->createFunction('ROW_COUNT', function () { return Store::$db->changes(); });
  }

  /** All rows, as arrays. */
  public static function rows($sql, $values = []) {
    $statement = self::$db->prepare($sql);
    foreach (array_values($values) as $place => $value) {
      $statement->bindValue($place + 1, $value);
    }
    $result = $statement->execute();
    $rows = [];
    // A statement that changes something must not be executed again by fetching from it.
    while ($result->numColumns() && ($row = $result->fetchArray(SQLITE3_ASSOC))) {
      $rows[] = $row;
    }
    return $rows;
  }

  public static function row($sql, $values = []) {
    $rows = self::rows($sql, $values);
    return $rows ? $rows[0] : null;
  }

  /** `YYYY-MM-DD HH:MM:SS` for what the store keeps. */
  public static function time($epoch) {
    return $epoch === null ? null : date('Y-m-d H:i:s', $epoch);
  }
}

/** What the adapter uses of CiviCRM's database layer: %1, %2, … of [value, type]. */
class CRM_Core_DAO {
  private $rows;
  private $last = [];

  public static function executeQuery($sql, $params = []) {
    $dao = new self();
    $values = [];
    $sql = preg_replace_callback('/%(\d+)/', function ($match) use ($params, &$values) {
      $values[] = $params[$match[1]][0];
      return '?';
    }, $sql);
    if ($sql === 'SHOW GRANTS') {
      $dao->rows = array_map(function ($grant) { return ['grant' => $grant]; }, Fake::config('grants'));
    }
    else {
      $dao->rows = Store::rows($sql, $values);
    }
    return $dao;
  }

  public static function singleValueQuery($sql, $params = []) {
    $row = self::executeQuery($sql, $params)->rows[0];
    return reset($row);
  }

  public function fetch() {
    $this->last = array_shift($this->rows);
    foreach ($this->last ?: [] as $name => $value) {
      $this->$name = $value;
    }
    return (bool) $this->last;
  }

  public function toArray() {
    return $this->last;
  }
}
