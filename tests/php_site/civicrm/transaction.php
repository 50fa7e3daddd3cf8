<?php

/**
 * Transactions as CiviCRM has them (contract A7): each object counts in the frame that is open, and the last one to
 * go ends it. With $nest there is a frame within the frame.
 */
class CRM_Core_Transaction {
  private static $frames = [];  // the innermost first: [how many objects, whether to commit]
  private $ended = false;

  public function __construct($nest = false) {
    if (!self::$frames || $nest) {
      Store::$db->exec(self::$frames ? 'SAVEPOINT frame' . count(self::$frames) : 'BEGIN');
      array_unshift(self::$frames, [0, true]);
    }
    self::$frames[0][0]++;
  }

  public function __destruct() {
    $this->commit();
  }

  public function commit() {
    if ($this->ended) {
      return $this;
    }
    $this->ended = true;
    if (!self::$frames) {
      throw new CRM_Core_Exception('Transaction integrity error: Expected to find active frame');
    }
    if (--self::$frames[0][0] === 0) {
      self::end();
    }
    return $this;
  }

  public function rollback() {
    self::$frames[0][1] = false;
    return $this;
  }

  public static function isActive() {
    return (bool) self::$frames;
  }

  public static function forceRollbackIfEnabled() {
    while (self::$frames) {
      self::$frames[0][1] = false;
      self::end();
    }
  }

  private static function end() {
    list(, $commits) = array_shift(self::$frames);
    $frame = count(self::$frames);
    if ($frame) {
      Store::$db->exec($commits ? "RELEASE frame$frame" : "ROLLBACK TO frame$frame");
    }
    else {
      Store::$db->exec($commits ? 'COMMIT' : 'ROLLBACK');
    }
  }
}
