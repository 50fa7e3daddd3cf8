<?php

/** The tasks of tests/chaos/tasks.py. Their lines: WORD ITEM QUEUE TRY PID DAEMON TIME. */
class ChaosTasks {

  private static function note($path, $word, $context) {
    $daemon = getenv('CHAOS_DAEMON') ?: '-';
    $words = [$word, $context->item, $context->queue, $context->run_count, getmypid(), $daemon,
      sprintf('%.4F', microtime(true))];
    file_put_contents($path, implode(' ', $words) . "\n", FILE_APPEND);
  }

  private static function noted($path, $context, $do) {
    self::note($path, 'start', $context);
    $do();
    self::note($path, 'end', $context);
    return true;
  }

  public static function nap($context, $path, $seconds) {
    return self::noted($path, $context, function () use ($seconds) { usleep((int) (1e6 * $seconds)); });
  }

  public static function fail($context, $path) {
    self::noted($path, $context, function () {});
    throw new RuntimeException('as it was made to');
  }

  public static function leave($context, $path) {
    self::note($path, 'start', $context);
    exit(3);
  }

  public static function segfault($context, $path) {
    self::note($path, 'start', $context);
    posix_kill(getmypid(), 11);
    sleep(3600);
  }

  public static function hang($context, $path) {
    self::note($path, 'start', $context);
    sleep(3600);
  }

  public static function eat($context, $path, $mebibytes) {
    self::note($path, 'start', $context);
    $kept = [];
    while (count($kept) < $mebibytes) {
      $kept[] = random_bytes(1 << 20);
    }
    sleep(3600);
  }

  public static function noise($context, $path, $mebibytes) {
    return self::noted($path, $context, function () use ($mebibytes) {
      echo "{\"jsonrpc\":\"2.0\",\"result\":[],\"id\":1}\n";
      for ($n = 0; $n < $mebibytes; $n++) {
        echo str_repeat('x', 1 << 20);
      }
    });
  }

  public static function close_stdout($context, $path) {
    return self::noted($path, $context, function () { fclose(STDOUT); });
  }

  public static function offspring($context, $path) {
    return self::noted($path, $context, function () { exec('sleep 30 2>/dev/null </dev/null >&1 &'); });
  }
}
