package io.berth.stats;

import java.time.Instant;

final class Clocks {
  private Clocks() {}

  /** Nanoseconds since 1970. */
  static long wallNanos() {
    Instant now = Instant.now();
    return now.getEpochSecond() * 1_000_000_000L + now.getNano();
  }
}
