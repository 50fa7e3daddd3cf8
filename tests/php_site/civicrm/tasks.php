<?php

/** The same tasks, by name and journal, as tests/support/tasks.py; that says what CHAOS_DAEMON does. */
class Tasks {

  private static $kept = [];

  private static function write($journal, $word, $context, ...$more) {
    $daemon = getenv('CHAOS_DAEMON');
    $fields = $daemon === false ? [$context->contact ?: 'system', getmypid()]
      : [$context->run_count, getmypid(), $daemon, sprintf('%.4F', microtime(true))];
    $words = array_merge([$word, $context->item, $context->queue], $fields, $more);
    // One write, at the end of the file: whole lines, without a lock that a frozen process could hold.
    file_put_contents($journal, implode(' ', $words) . "\n", FILE_APPEND);
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

  /** Fails until it has been tried `tries` times: the first time by an exception. */
  public static function flaky($context, $journal, $tries) {
    self::journalled($journal, $context, function () {});
    if ($context->run_count <= $tries) {
      throw new RuntimeException("try {$context->run_count}");
    }
    return true;
  }

  public static function quit($context, $journal, $status = 0) {
    self::write($journal, 'start', $context);
    exit($status);
  }

  public static function type_error($context, $journal) {
    self::journalled($journal, $context, function () {});
    throw new TypeError('strlen() expects a text');
  }

  /** Fails with a message that is no UTF-8, and prints such bytes. */
  public static function bad_utf8($context, $journal) {
    self::journalled($journal, $context, function () { echo "bad \xff text\n"; });
    throw new RuntimeException("bad \xff text");
  }

  public static function complain($context, $journal, $text) {
    return self::journalled($journal, $context, function () use ($text) { fwrite(STDERR, "$text\n"); });
  }

  public static function complain_and_hold($context, $journal, $text, $gate) {
    fwrite(STDERR, "$text\n");
    return self::hold($context, $journal, $gate);
  }

  /** Writes "overlap …" if the same item runs elsewhere too (a dead process holds no lock). */
  public static function alone($context, $journal, $folder, $seconds) {
    return self::journalled($journal, $context, function () use ($context, $journal, $folder, $seconds) {
      $lock = fopen("$folder/{$context->item}", 'w');
      if (!flock($lock, LOCK_EX | LOCK_NB)) {
        self::write($journal, 'overlap', $context);
      }
      usleep((int) (1e6 * $seconds));
    });
  }

  /** Needs the files of the release that this process was started in. */
  public static function released($context, $journal, $seconds) {
    $version = file_get_contents(getcwd() . '/version.txt');
    if ($version === false) {
      throw new RuntimeException('the release is gone');
    }
    self::write($journal, 'start', $context, $version);
    usleep((int) (1e6 * $seconds));
    self::write($journal, 'end', $context, $version);
    return true;
  }

  /** Starts a child that keeps stdout open and outlives the task. */
  public static function offspring($context, $journal, $seconds) {
    return self::journalled($journal, $context, function () use ($context, $journal, $seconds) {
      self::write($journal, 'child', $context, self::start("exec sleep $seconds"));
    });
  }

  /** Starts a process of a session of its own whose parent dies at once. */
  public static function orphan($context, $journal, $seconds) {
    return self::journalled($journal, $context, function () use ($context, $journal, $seconds) {
      $script = escapeshellarg("sleep $seconds >/dev/null & echo $!");
      self::write($journal, 'child', $context, trim(shell_exec("setsid sh -c $script")));
    });
  }

  /** Leaves a child behind that prints `text` after a while. */
  public static function shout_later($context, $journal, $seconds, $text) {
    return self::journalled($journal, $context, function () use ($seconds, $text) {
      self::start("sleep $seconds; echo " . escapeshellarg($text));
    });
  }

  /** The pid of a shell command with our standard streams. Kept, as the end of the handle would wait for it. */
  private static function start($command) {
    self::$kept[] = $process = proc_open($command, [STDIN, STDOUT, STDERR], $pipes);
    return proc_get_status($process)['pid'];
  }

  /** Takes so much memory and keeps it, also when it has ended. */
  public static function grow($context, $journal, $mebibytes, $seconds) {
    return self::journalled($journal, $context, function () use ($mebibytes, $seconds) {
      ini_set('memory_limit', -1);
      self::$kept[] = str_repeat('x', $mebibytes << 20);
      usleep((int) (1e6 * $seconds));
    });
  }

  /** Its lines end with the domain that it runs in. */
  public static function say_domain($context, $journal, $seconds = 0.0) {
    self::write($journal, 'start', $context, $context->domain);
    usleep((int) (1e6 * $seconds));
    self::write($journal, 'end', $context, $context->domain);
    return true;
  }

  /** Takes memory step by step, until somebody stops it. */
  public static function gorge($context, $journal, $mebibytes) {
    self::write($journal, 'start', $context);
    $kept = [];
    while (count($kept) < $mebibytes) {
      $kept[] = random_bytes(1 << 20);
    }
    sleep(3600);
  }

  /** Prints a line that looks like an answer, and megabytes without a line end. */
  public static function noise($context, $journal, $mebibytes) {
    return self::journalled($journal, $context, function () use ($mebibytes) {
      echo "{\"jsonrpc\":\"2.0\",\"result\":[],\"id\":1}\n";
      for ($n = 0; $n < $mebibytes; $n++) {
        echo str_repeat('x', 1 << 20);
      }
    });
  }

  /** Nothing that this process answers can be read any more. */
  public static function close_stdout($context, $journal) {
    return self::journalled($journal, $context, function () { fclose(STDOUT); });
  }

  /** As the installation of an extension does: what listened by hand listens no more. */
  public static function rebuild($context, $journal) {
    return self::journalled($journal, $context, function () { Civi::rebuild(); });
  }

  // What tasks leave behind for the next one.

  /** Evaluates PHP, in which $context and self:: are there; its lines end with what it returned, as JSON. */
  public static function php($context, $journal, $code) {
    self::write($journal, 'start', $context);
    self::write($journal, 'end', $context, json_encode(eval($code)));
    return true;
  }

  /** Uses the processor for so long. */
  public static function burn($context, $journal, $seconds) {
    return self::journalled($journal, $context, function () use ($seconds) {
      for ($until = microtime(true) + $seconds; microtime(true) < $until; ) {
        hash('sha256', str_repeat('x', 4096));
      }
    });
  }

  /** Leaves so many transactions open, one in the other; then it fails, or does not. */
  public static function leave_open($context, $journal, $levels, $fails = false) {
    self::write($journal, 'start', $context);
    for ($level = 0; $level < $levels; $level++) {
      self::$kept[] = new CRM_Core_Transaction(true);
      Store::rows('UPDATE civicrm_contact SET is_blocked = 1');
    }
    if ($fails) {
      throw new RuntimeException('in the midst of it');
    }
    self::write($journal, 'end', $context);
    return true;
  }

  /** Fails while the error's trace is all that holds its transaction. */
  public static function drop_open($context, $journal) {
    self::write($journal, 'start', $context);
    ini_set('zend.exception_ignore_args', '0');
    self::fail_with(new CRM_Core_Transaction());
  }

  private static function fail_with($transaction) {
    Store::rows('UPDATE civicrm_contact SET is_blocked = 1');
    throw new RuntimeException('with the transaction in its trace');
  }

  // Plain ones, which write no journal.

  public static function succeed($context) {
    return true;
  }

  public static function say($context, $text) {
    echo $text;
    return true;
  }

  public static function throw($context, $text = 'boom') {
    throw new RuntimeException($text);
  }

  public static function exit_with($context, $status = 3, $text = '') {
    echo $text;
    exit($status);
  }
}

/**
 * What an extension may do when it hears of a batch, before CiviCRM's handler. The setting `listeners` names them by
 * hook; each acts once, unless the setting `once` names no file.
 */
class Listeners {

  private static function done() {
    $file = Fake::config('once');
    return $file && !@fopen($file, 'x');
  }

  /** Waits for the file `gate`. */
  public static function park($event) {
    if (self::done()) {
      return;
    }
    while (!file_exists(Fake::config('gate'))) {
      usleep(10000);
      clearstatcache();
    }
  }

  public static function leave($event) {
    self::done() || exit(3);
  }

  public static function fatal($event) {
    if (!self::done()) {
      eval('class Tasks {}');
    }
  }

  public static function lose($event) {
    if (!self::done()) {
      throw new CRM_Core_Exception('DB Error: no database selected');
    }
  }

  public static function refuse($event) {
    if (!self::done()) {
      throw new CRM_Core_Exception('an extension does not like that');
    }
  }
}
