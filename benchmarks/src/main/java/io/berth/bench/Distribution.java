package io.berth.bench;

import java.time.Duration;
import java.util.List;

/**
 * Measured durations of one thing.
 *
 * @param sorted ascending, not empty
 */
record Distribution(List<Duration> sorted) {
  Distribution {
    if (sorted.isEmpty()) {
      throw new IllegalArgumentException("a distribution needs at least one value");
    }
    sorted = sorted.stream().sorted().toList();
  }

  /**
   * By nearest rank: the smallest value that at least {@code percent} of all do not exceed, so
   * always one that was measured. With 50 values the 99th percentile is the largest.
   */
  Duration percentile(int percent) {
    int rank = (int) Math.ceil(percent / 100.0 * sorted.size());
    return sorted.get(Math.max(rank, 1) - 1);
  }

  Duration median() {
    return percentile(50);
  }

  /** How many times as long as the floor, at the median. */
  double ratioTo(Distribution floor) {
    return (double) median().toNanos() / floor.median().toNanos();
  }
}
