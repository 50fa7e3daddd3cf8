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

  public function run($ids) {
    $marks = implode(', ', array_fill(0, count($ids), '?'));
    $rows = Store::rows("SELECT * FROM civicrm_queue_item WHERE queue_name = ? AND id IN ($marks) ORDER BY id",
      array_merge([$this->getName()], array_map('intval', $ids)));
    if (!$rows && count($ids) === 1) {
      $this->miss();
    }
    $outcomes = [];
    $aborted = false;
    foreach ($rows as $row) {
      if ($aborted) {
        $outcome = 'relinquish';
        $this->release($row, $row['run_count'] - 1);
      }
      else {
        $outcome = $this->one($row);
        // Before 6.1 the rest of the batch ran all the same.
        $aborted = $outcome === 'abort' && !self::before('6.1');
      }
      $outcomes[] = ['outcome' => $outcome, 'item' => ['id' => (string) $row['id'], 'queue' => $this->getName()]];
    }
    return $outcomes;
  }

  private static function before($version) {
    return version_compare(Fake::config('version'), $version, '<');
  }

  /** The item is gone. */
  private function miss() {
    if (self::before('6.1')) {
      throw new CRM_Core_Exception('Cannot run. Invalid task given.');
    }
    throw new TypeError('CRM_Queue_TaskHandler::getItemTitle(): Return value must be of type string, null returned');
  }

  private function one($row) {
    $task = json_decode((string) $row['data']);
    $retries = $this->queue['retry_limit'];
    try {
      if (!isset($task->callback)) {
        $retries = 0;
        throw new CRM_Core_Exception('Cannot run. Received invalid queue item.');
      }
      if ($row['run_count'] > 1 + $retries) {
        throw new CRM_Core_Exception("Skipping exhausted task after {$row['run_count']} tries");
      }
      $this->check($task);
      if ($this->call($task, $row) === false) {
        throw new CRM_Core_Exception('Queue task returned false');
      }
      Store::rows('DELETE FROM civicrm_queue_item WHERE id = ?', [$row['id']]);
      return 'ok';
    }
    catch (Throwable $error) {
      if ($error instanceof Error && self::before('6.2')) {
        throw $error;  // it escaped, and left the rest of the batch leased
      }
      return $this->failed($row, $task, $error, $retries + 1 > $row['run_count'] ? 'retry' : $this->queue['error']);
    }
  }

  private function call($task, $row) {
    $name = substr(strrchr(":{$task->callback}", ':'), 1);  // whatever module stands in front of the colon
    $context = (object) ['item' => $row['id'], 'queue' => $this->getName(), 'run_count' => $row['run_count'],
      'contact' => Fake::$contact, 'domain' => Fake::domain(), 'log' => Civi::log('queue')];
    return Tasks::$name($context, ...(isset($task->arguments) ? $task->arguments : []));
  }

  /** A task with runAs runs only under that contact and domain; null is a value like any other. */
  private function check($task) {
    $actual = ['contactId' => Fake::$contact, 'domainId' => Fake::domain()];
    foreach (isset($task->runAs) ? $task->runAs : [] as $name => $wanted) {
      if (array_key_exists($name, $actual) && (string) $wanted !== (string) $actual[$name]) {
        throw new CRM_Core_Exception('Cannot execute queue task. Unexpected ' . substr($name, 0, -2) . " \"{$actual[$name]}\"");
      }
    }
  }

  private function failed($row, $task, $error, $outcome) {
    $event = Civi\Core\Event\GenericHookEvent::create(['queue' => $this, 'outcome' => $outcome, 'exception' => $error,
      'item' => (object) ['id' => $row['id'], 'data' => $task]]);
    Civi::dispatcher()->dispatch('hook_civicrm_queueTaskError', $event);
    $outcome = $event->outcome;
    if ($outcome === 'delete') {
      Store::rows('DELETE FROM civicrm_queue_item WHERE id = ?', [$row['id']]);
    }
    else {
      if ($outcome === 'abort') {
        Store::rows("UPDATE civicrm_queue SET status = 'aborted' WHERE name = ?", [$this->getName()]);
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
