package io.berth.e2e;

import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;

/** Waiting for a condition instead of for a time. */
final class Await {
  private static final long PAUSE_MILLIS = 10;

  private Await() {}

  /**
   * @param what the condition in words, for the failure's message
   * @throws AssertionError when it does not come true in time
   */
  static void until(String what, Duration limit, Callable<Boolean> condition)
      throws InterruptedException {
    long end = System.nanoTime() + limit.toNanos();
    Exception last = null;
    while (System.nanoTime() < end) {
      try {
        if (condition.call()) {
          return;
        }
        last = null;
      } catch (InterruptedException stopped) {
        throw stopped;
      } catch (Exception failure) {
        last = failure; // such as a daemon that does not answer yet
      }
      TimeUnit.MILLISECONDS.sleep(PAUSE_MILLIS);
    }
    throw new AssertionError("after " + limit.toMillis() + " ms still not: " + what, last);
  }
}
