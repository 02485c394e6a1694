package io.berth.snapshot;

import java.util.concurrent.TimeUnit;

/** A bound on how many bytes a second are read. For one thread. */
public final class Pace {
  private static final long BURST_NANOS = TimeUnit.MILLISECONDS.toNanos(100);

  private final long bytesPerSecond;
  private long paidUntil = System.nanoTime();

  private Pace(long bytesPerSecond) {
    this.bytesPerSecond = bytesPerSecond;
  }

  /**
   * @param bytesPerSecond 0: as fast as it goes
   */
  public static Pace of(long bytesPerSecond) {
    return new Pace(bytesPerSecond);
  }

  public static Pace unlimited() {
    return new Pace(0);
  }

  /** Waits until so many bytes may have been read. */
  void spend(long bytes) throws InterruptedException {
    if (Thread.interrupted()) {
      throw new InterruptedException("reading a layer was interrupted");
    }
    if (bytesPerSecond == 0) {
      return;
    }
    long now = System.nanoTime();
    paidUntil =
        Math.max(paidUntil, now - BURST_NANOS)
            + (long) (bytes * (double) TimeUnit.SECONDS.toNanos(1) / bytesPerSecond);
    if (paidUntil > now) {
      TimeUnit.NANOSECONDS.sleep(paidUntil - now);
    }
  }
}
