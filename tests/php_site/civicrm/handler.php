<?php

/** A task as CiviCRM keeps it; extensions have classes below it. */
class CRM_Queue_Task {
  public $callback;
  public $arguments;
  public $title;
  public $runAs;

  /** The task of a row, of the class that it names; null if it is none. */
  public static function of($data) {
    $data = json_decode((string) $data);
    if (!isset($data->callback)) {
      return $data;
    }
    $class = isset($data->class) ? $data->class : __CLASS__;
    $task = (new ReflectionClass($class))->newInstanceWithoutConstructor();
    foreach (['callback', 'arguments', 'title', 'runAs'] as $name) {
      $task->$name = isset($data->$name) ? $data->$name : null;
    }
    return $task;
  }

  public function run($taskCtx) {
    $actual = ['contactId' => Fake::$contact, 'domainId' => Fake::domain()];
    // A task with runAs runs only under that contact and domain; null is a value like any other.
    foreach ($this->runAs ?: [] as $name => $wanted) {
      if (array_key_exists($name, $actual) && (string) $wanted !== (string) $actual[$name]) {
        throw new CRM_Core_Exception('Cannot execute queue task. Unexpected ' . substr($name, 0, -2) . " \"{$actual[$name]}\"");
      }
    }
    $name = substr(strrchr(":{$this->callback}", ':'), 1);  // whatever module stands in front of the colon
    return Tasks::$name($taskCtx, ...($this->arguments ?: []));
  }
}

/** A task of an extension, with a run() of its own. */
class PoliteTask extends CRM_Queue_Task {
  public function run($taskCtx) {
    fwrite(STDERR, "polite: {$this->title}\n");
    return parent::run($taskCtx);
  }
}

/** Runs a batch in order and settles each item before the next (contract A3, A4). */
class TaskHandler {
  private $queue;

  public function __construct($queue) {
    $this->queue = $queue;
  }

  public function getName() {
    return $this->queue['name'];
  }

  public function getSpec($name) {
    return $this->queue[$name];
  }

  /** The outcomes of these items. Listeners of the runner's hook come first, as extensions have them. */
  public function run($ids) {
    $marks = implode(', ', array_fill(0, count($ids), '?'));
    $items = [];
    foreach (Store::rows("SELECT * FROM civicrm_queue_item WHERE queue_name = ? AND id IN ($marks) ORDER BY id",
      array_merge([$this->getName()], array_map('intval', $ids))) as $row) {
      $items[] = (object) (['data' => CRM_Queue_Task::of($row['data'])] + $row);
    }
    if (!$items && count($ids) === 1) {
      $this->miss();
    }
    $event = Civi\Core\Event\GenericHookEvent::create(['queue' => $this, 'items' => $items, 'outcomes' => []]);
    Civi::dispatcher()->dispatch("hook_civicrm_queueRun_{$this->queue['runner']}", $event);
    if (!$event->outcomes) {
      throw new CRM_Core_Exception("Failed to run queue items (name={$this->getName()}, runner={$this->queue['runner']}, "
        . 'itemCount=' . count($ids) . ', outcomeCount=0)');
    }
    return array_map(function ($outcome, $item) {
      return ['outcome' => $outcome, 'item' => ['id' => (string) $item->id, 'queue' => $this->getName()]];
    }, $event->outcomes, $items);
  }

  /** CiviCRM's own listener. */
  public static function runBatch($event) {
    $aborted = false;
    $outcomes = [];
    foreach ($event->items as $item) {
      if ($aborted) {
        $outcome = 'relinquish';
        $event->queue->release($item, $item->run_count - 1);
      }
      else {
        $outcome = $event->queue->one($item);
        // Before 6.1 the rest of the batch ran all the same.
        $aborted = $outcome === 'abort' && !self::before('6.1');
      }
      $outcomes[] = $outcome;
    }
    $event->outcomes = $outcomes;
  }

  /** What an extension does for its own runner: whatever it likes, and the last items first. */
  public static function runLetters($event) {
    $outcomes = [];
    foreach (array_reverse($event->items, true) as $position => $item) {
      $name = substr(strrchr(":{$item->data->callback}", ':'), 1);
      Tasks::$name($event->queue->context($item), ...$item->data->arguments);
      Store::rows('DELETE FROM civicrm_queue_item WHERE id = ?', [$item->id]);
      $outcomes[$position] = 'ok';
    }
    ksort($outcomes);
    $event->outcomes = $outcomes;
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

  private function one($item) {
    $retries = $this->queue['retry_limit'];
    try {
      if (!$item->data instanceof CRM_Queue_Task) {
        $retries = 0;
        throw new CRM_Core_Exception('Cannot run. Received invalid queue item.');
      }
      if ($item->run_count > 1 + $retries) {
        throw new CRM_Core_Exception("Skipping exhausted task after {$item->run_count} tries: " . print_r($item->data, true));
      }
      if ($item->data->run($this->context($item)) === false) {
        throw new CRM_Core_Exception('Queue task returned false');
      }
    }
    catch (Throwable $error) {
      if ($error instanceof Error && self::before('6.2')) {
        throw $error;  // it escaped, and left the rest of the batch leased
      }
      return $this->failed($item, $error, $retries + 1 > $item->run_count ? 'retry' : $this->queue['error']);
    }
    Store::rows('DELETE FROM civicrm_queue_item WHERE id = ?', [$item->id]);
    return 'ok';
  }

  public function context($item) {
    return (object) ['item' => $item->id, 'queue' => $this->getName(), 'run_count' => $item->run_count,
      'contact' => Fake::$contact, 'domain' => Fake::domain(), 'log' => Civi::log('queue')];
  }

  private function failed($item, $error, $outcome) {
    $event = Civi\Core\Event\GenericHookEvent::create(['queue' => $this, 'outcome' => $outcome, 'exception' => $error,
      'item' => $item]);
    Civi::dispatcher()->dispatch('hook_civicrm_queueTaskError', $event);
    $outcome = $event->outcome;
    if ($outcome === 'delete') {
      Store::rows('DELETE FROM civicrm_queue_item WHERE id = ?', [$item->id]);
    }
    else {
      if ($outcome === 'abort') {
        Store::rows("UPDATE civicrm_queue SET status = 'aborted' WHERE name = ?", [$this->getName()]);
      }
      $this->release($item, $item->run_count);
    }
    return $outcome;
  }

  private function release($item, $run_count) {
    $interval = $this->queue['retry_interval'];
    Store::rows('UPDATE civicrm_queue_item SET run_count = ?, release_time = ? WHERE id = ?',
      [$run_count, $interval ? Fake::now() + $interval : null, $item->id]);
  }
}
