package io.berth.daemon;

import java.time.Duration;

/// Collects garbage once after each burst of work, so that an idle daemon is a small one: the heap
/// shrinks only in a full collection, and the serial collector starts none while nothing happens.
/// Polling calls do not count as work.
final class IdleMemory {
  private static final Duration QUIET = Duration.ofSeconds(3);

  private IdleMemory() {}

  static Thread start(OperationLog operations) {
    return Thread.ofVirtual().name("idle-memory").start(() -> watch(operations));
  }

  private static void watch(OperationLog operations) {
    long collectedAfter = -1;
    try {
      while (true) {
        long before = operations.changes();
        Thread.sleep(QUIET);
        boolean quiet = operations.changes() == before && operations.runningCount() == 0;
        if (quiet && before != collectedAfter) {
          System.gc();
          collectedAfter = before;
        }
      }
    } catch (InterruptedException stopped) {
      // the daemon ends
    }
  }
}
