package io.berth.image;

import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.time.Duration;

/**
 * Ends a transfer that brings too little. Only time spent waiting for the network counts: a reader
 * that is busy unpacking may take as long as it needs.
 */
final class StallGuard extends FilterInputStream {
  private static final long NOT_READING = 0;

  /** How often within the limit is looked: a stall is seen at most one of these parts later. */
  private static final int PARTS = 5;

  private final Duration limit;
  private final long floor;
  private final Thread watcher;
  private volatile long readingSince = NOT_READING; // System.nanoTime, written by the reader alone
  private volatile long waited; // nanoseconds, likewise; without the read in progress
  private volatile long count; // bytes, likewise
  private long totalWaited; // the reader's own copies
  private long totalCount;
  private volatile boolean stalled;

  /**
   * @param limit of waiting
   * @param floor in bytes per second; a transfer that brings fewer over the limit is ended
   */
  StallGuard(InputStream source, Duration limit, long floor) {
    super(source);
    this.limit = limit;
    this.floor = floor;
    this.watcher = Thread.ofVirtual().name("stall-guard").start(this::watch);
  }

  private void watch() {
    long[] waitedThen = new long[PARTS + 1]; // by look, modulo their number
    long[] countThen = new long[PARTS + 1];
    int looks = 0; // taken when a further part of the limit was waited
    long least = Math.max(1, floor * limit.toMillis() / 1000);
    try {
      while (true) {
        Thread.sleep(limit.dividedBy(2 * PARTS));
        long now = waited; // first this, then the read in progress: none is counted twice
        long since = readingSince;
        now += since == NOT_READING ? 0 : System.nanoTime() - since;
        long part = limit.toNanos() / PARTS;
        if (now - waitedThen[looks % (PARTS + 1)] < part) {
          continue;
        }
        int oldest = Math.max(0, looks - PARTS + 1) % (PARTS + 1);
        long bytes = count;
        if (now - waitedThen[oldest] >= limit.toNanos() && bytes - countThen[oldest] < least) {
          stalled = true;
          in.close(); // wakes the reader
          return;
        }
        looks++;
        waitedThen[looks % (PARTS + 1)] = now;
        countThen[looks % (PARTS + 1)] = bytes;
      }
    } catch (InterruptedException | IOException e) {
      // Closed by the reader, or closing failed as the connection was gone already.
    }
  }

  @Override
  public int read() throws IOException {
    byte[] one = new byte[1];
    return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
  }

  @Override
  public int read(byte[] buffer, int offset, int length) throws IOException {
    long now = System.nanoTime();
    long since = now == NOT_READING ? 1 : now;
    readingSince = since;
    try {
      int read = super.read(buffer, offset, length);
      totalCount += Math.max(0, read);
      count = totalCount;
      return read;
    } catch (IOException e) {
      throw stalled ? new StalledException(limit, floor, e) : e;
    } finally {
      readingSince = NOT_READING;
      totalWaited += System.nanoTime() - since;
      waited = totalWaited;
    }
  }

  @Override
  public void close() throws IOException {
    watcher.interrupt();
    super.close();
  }

  /** Too little came. */
  static final class StalledException extends IOException {
    private static final long serialVersionUID = 1L;

    StalledException(Duration limit, long floor, IOException cause) {
      super("less than " + floor + " bytes a second for " + limit.toSeconds() + " s", cause);
    }
  }
}
