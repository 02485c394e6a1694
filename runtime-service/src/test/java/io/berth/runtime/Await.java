package io.berth.runtime;

import static org.junit.jupiter.api.Assertions.fail;

import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.locks.LockSupport;

/** Waits for a condition, never for a time. */
final class Await {
  private static final Duration LIMIT = Duration.ofSeconds(10);

  private Await() {}

  static void until(String what, Callable<Boolean> condition) throws Exception {
    long end = System.nanoTime() + LIMIT.toNanos();
    while (!condition.call()) {
      if (System.nanoTime() > end) {
        fail("not within " + LIMIT + ": " + what);
      }
      LockSupport.parkNanos(2_000_000);
    }
  }
}
