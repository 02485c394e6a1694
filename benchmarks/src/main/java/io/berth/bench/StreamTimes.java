package io.berth.bench;

import java.time.Duration;

/**
 * What one stream of bytes took.
 *
 * @param firstByte from the request until the first byte was there
 * @param rest from the first byte until the last one
 */
record StreamTimes(Duration firstByte, Duration rest, long bytes) {
  /**
   * @param begun, first, last by System.nanoTime()
   */
  static StreamTimes of(long begun, long first, long last, long bytes) {
    return new StreamTimes(Duration.ofNanos(first - begun), Duration.ofNanos(last - first), bytes);
  }

  double mebibytesPerSecond() {
    return bytes / 1048576.0 / (rest.toNanos() / 1e9);
  }
}
