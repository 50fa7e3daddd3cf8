<?php

/**
 * The SQLite file. Times in it are seconds of the epoch, so MySQL's functions are given the sense that fits:
 * NOW() is the local time as text, UNIX_TIMESTAMP(x) makes an epoch of that and leaves an epoch as it is,
 * FROM_UNIXTIME(epoch) stays an epoch (to be stored), ROW_COUNT() is what the last change changed.
 */
class Store {
  public static $db;
  private static $path;
  private static $inode;

  public static function open($path) {
    self::$db = new SQLite3($path, SQLITE3_OPEN_READWRITE);
    self::$db->enableExceptions(true);
    self::$db->busyTimeout(10000);
    self::$db->exec('PRAGMA synchronous = NORMAL');
    list(self::$path, self::$inode) = [$path, fileinode($path)];
    self::$db->createFunction('NOW', function () { return Store::time(Fake::now()); });
    self::$db->createFunction('UNIX_TIMESTAMP', function ($time) {
      return is_string($time) ? (ctype_digit($time) ? (int) $time : strtotime($time)) : $time;
    });
    self::$db->createFunction('FROM_UNIXTIME', function ($time) { return $time === null ? null : (int) $time; });
    self::$db->createFunction('ROW_COUNT', function () { return Store::$db->changes(); });
  }

  /** A file that was moved away is what a killed connection is: from then on every call fails. */
  public static function check() {
    clearstatcache();
    if (!file_exists(self::$path) || fileinode(self::$path) !== self::$inode) {
      throw new CRM_Core_Exception('DB Error: no database selected');
    }
  }

  /** All rows, as arrays by name. */
  public static function rows($sql, $values = []) {
    return self::query($sql, $values, SQLITE3_ASSOC);
  }

  /** All rows, as lists. */
  public static function lists($sql, $values = []) {
    return self::query($sql, $values, SQLITE3_NUM);
  }

  private static function query($sql, $values, $mode) {
    try {
      return self::answer($sql, $values, $mode);
    }
    catch (Exception $error) {
      throw new CRM_Core_Exception('DB Error: ' . $error->getMessage());
    }
  }

  private static function answer($sql, $values, $mode) {
    $statement = self::$db->prepare($sql);
    foreach (array_values($values) as $place => $value) {
      $statement->bindValue($place + 1, $value);
    }
    $result = $statement->execute();
    $rows = [];
    // A statement that changes something must not be executed again by fetching from it.
    while ($result->numColumns() && ($row = $result->fetchArray($mode))) {
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
  public $N;
  private $affected;
  private $rows;
  private $last = [];

  public static function executeQuery($sql, $params = []) {
    $dao = new self();
    $values = [];
    $sql = preg_replace_callback('/%(\d+)/', function ($match) use ($params, &$values) {
      $values[] = $params[$match[1]][0];
      return '?';
    }, $sql);
    if (strpos($sql, 'SET @') === 0) {
      $dao->rows = [];  // a variable of MySQL's
    }
    elseif ($sql === 'SHOW GRANTS') {
      $dao->rows = array_map(function ($grant) { return ['grant' => $grant]; }, Fake::config('grants'));
    }
    else {
      $dao->rows = Store::rows($sql, $values);
    }
    $dao->N = count($dao->rows);
    $dao->affected = Store::$db->changes();
    return $dao;
  }

  public static function singleValueQuery($sql, $params = []) {
    $rows = self::executeQuery($sql, $params)->rows;
    return $rows ? reset($rows[0]) : null;
  }

  public function fetch() {
    $this->last = array_shift($this->rows);
    foreach ($this->last ?: [] as $name => $value) {
      $this->$name = $value;
    }
    return (bool) $this->last;
  }

  public function affectedRows() {
    return $this->affected;
  }

  public function toArray() {
    return $this->last;
  }
}
