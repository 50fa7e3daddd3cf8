<?php

/** Runs a batch in order and settles each item before the next (contract A3, A4). */
class TaskHandler {
  private $queue;

  public function __construct($queue) {
    $this->queue = $queue;
  }

  public function getName() {
    return $this->queue['name'];
  }

  public function run($items) {
    $outcomes = [];
    $aborted = false;
    foreach ($items as $item) {
      $row = Store::row('SELECT * FROM civicrm_queue_item WHERE id = ?', [(int) $item['id']]);
      if ($aborted) {
        $outcome = version_compare(Fake::config('version'), '6.1', '<') ? 'abort' : 'relinquish';
        $this->release($row, $row['run_count'] - 1);
      }
      elseif (!$row) {
        if (count($items) === 1) {
          throw new TypeError('CRM_Queue_TaskHandler::getItemTitle(): Return value must be of type string, null returned');
        }
        continue;
      }
      else {
        $outcome = $this->one($row);
        $aborted = $outcome === 'abort';
      }
      $outcomes[] = ['outcome' => $outcome, 'item' => ['id' => $item['id'], 'queue' => $this->queue['name']]];
    }
    return $outcomes;
  }

  private function one($row) {
    $task = json_decode($row['data']);
    $retries = $this->queue['retry_limit'];
    try {
      if ($row['run_count'] > 1 + $retries) {
        $retries = 0;
        throw new CRM_Core_Exception("Skipping exhausted task after {$row['run_count']} tries");
      }
      $this->check($task);
      list($module, $name) = explode(':', $task->callback);
      $class = $module === 'chaos.tasks' ? 'ChaosTasks' : 'Tasks';
      $context = (object) ['item' => $row['id'], 'queue' => $this->queue['name'], 'run_count' => $row['run_count'],
        'contact' => Fake::$contact, 'domain' => Fake::domain()];
      if ($class::$name($context, ...$task->arguments) === false) {
        throw new CRM_Core_Exception('Queue task returned false');
      }
      Store::rows('DELETE FROM civicrm_queue_item WHERE id = ?', [$row['id']]);
      return 'ok';
    }
    catch (Throwable $error) {
      return $this->failed($row, $task, $error, $retries + 1 > $row['run_count'] ? 'retry' : $this->queue['error']);
    }
  }

  private function check($task) {
    $actual = ['contactId' => Fake::$contact, 'domainId' => Fake::domain()];
    foreach (isset($task->runAs) ? $task->runAs : [] as $name => $wanted) {
      if ((string) $wanted !== (string) $actual[$name]) {
        throw new CRM_Core_Exception('Cannot execute queue task. Unexpected ' . substr($name, 0, -2) . " \"{$actual[$name]}\"");
      }
    }
  }

  private function failed($row, $task, $error, $outcome) {
    $item = (object) ['id' => $row['id'], 'data' => $task];
    Civi::dispatcher()->dispatch('hook_civicrm_queueTaskError',
      (object) ['queue' => $this, 'item' => $item, 'outcome' => $outcome, 'exception' => $error]);
    if ($outcome === 'delete') {
      Store::rows('DELETE FROM civicrm_queue_item WHERE id = ?', [$row['id']]);
    }
    else {
      if ($outcome === 'abort') {
        Store::rows("UPDATE civicrm_queue SET status = 'aborted' WHERE name = ?", [$this->queue['name']]);
      }
      $this->release($row, $row['run_count']);
    }
    return $outcome;
  }

  private function release($row, $run_count) {
    $interval = $this->queue['retry_interval'];
    Store::rows('UPDATE civicrm_queue_item SET run_count = ?, release_time = ? WHERE id = ?',
      [$run_count, $interval ? time() + $interval : null, $row['id']]);
  }
}

/** The same tasks, by name and journal, as tests/support/tasks.py. */
class Tasks {

  private static function write($journal, $word, $context) {
    $words = [$word, $context->item, $context->queue, $context->contact ?: 'system', getmypid()];
    file_put_contents($journal, implode(' ', $words) . "\n", FILE_APPEND | LOCK_EX);
  }

  private static function journalled($journal, $context, $do) {
    self::write($journal, 'start', $context);
    $do();
    self::write($journal, 'end', $context);
    return true;
  }

  public static function empty($context, $journal) {
    return self::journalled($journal, $context, function () {});
  }

  public static function nap($context, $journal, $seconds) {
    return self::journalled($journal, $context, function () use ($seconds) { usleep((int) (1e6 * $seconds)); });
  }

  public static function hold($context, $journal, $gate) {
    return self::journalled($journal, $context, function () use ($gate) {
      while (!file_exists($gate)) {
        usleep(10000);
        clearstatcache();
      }
    });
  }

  public static function fail($context, $journal) {
    self::journalled($journal, $context, function () {});
    throw new RuntimeException('as it was made to');
  }

  public static function fail_until($context, $journal, $tries) {
    self::journalled($journal, $context, function () {});
    return $context->run_count > $tries;
  }

  public static function leave($context, $journal, $status, $text = '') {
    self::write($journal, 'start', $context);
    echo "$text\n";
    exit($status);
  }

  public static function crash($context, $journal) {
    self::write($journal, 'start', $context);
    posix_kill(getmypid(), 11);
    sleep(60);
  }

  public static function shout($context, $journal, $text, $size = 0) {
    return self::journalled($journal, $context, function () use ($text, $size) { echo "$text\n" . str_repeat('x', $size); });
  }

  /** A notice of PHP's own. */
  public static function notice($context, $journal) {
    return self::journalled($journal, $context, function () { echo $undefined; });
  }

  /** A fatal error. */
  public static function fatal($context, $journal) {
    self::write($journal, 'start', $context);
    eval('class Tasks {}');
  }

  /** More memory than PHP may have. */
  public static function eat($context, $journal, $mebibytes) {
    self::write($journal, 'start', $context);
    ini_set('memory_limit', '64M');
    $kept = str_repeat('x', $mebibytes << 20);
    sleep(60);
  }
}
