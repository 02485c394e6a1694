package io.berth.image;

import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.time.Duration;

/**
 * Ends a transfer that has gone silent. Only time spent waiting for the network counts: a reader
 * that is busy unpacking may take as long as it needs.
 */
final class StallGuard extends FilterInputStream {
  private static final long NOT_READING = 0;

  private final Duration limit;
  private final Thread watcher;
  private volatile long readingSince = NOT_READING; // System.nanoTime, written by the reader alone
  private volatile boolean stalled;

  StallGuard(InputStream source, Duration limit) {
    super(source);
    this.limit = limit;
    this.watcher = Thread.ofVirtual().name("stall-guard").start(this::watch);
  }

  private void watch() {
    try {
      while (true) {
        Thread.sleep(limit.dividedBy(4));
        long since = readingSince;
        if (since != NOT_READING && System.nanoTime() - since > limit.toNanos()) {
          stalled = true;
          in.close(); // wakes the reader
          return;
        }
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
    readingSince = now == NOT_READING ? 1 : now;
    try {
      return super.read(buffer, offset, length);
    } catch (IOException e) {
      throw stalled ? new IOException("no data for " + limit.toSeconds() + " s", e) : e;
    } finally {
      readingSince = NOT_READING;
    }
  }

  @Override
  public void close() throws IOException {
    watcher.interrupt();
    super.close();
  }
}
