package io.berth.runtime;

import io.berth.linux.FdReader;
import java.io.IOException;
import java.io.OutputStream;
import java.time.Duration;

/**
 * Carries what a command writes to whoever wants it, on a virtual thread of its own, with one
 * buffer. When the receiver fails, the rest is read and dropped, so that the command never hangs on
 * it.
 */
final class OutputPump {
  private static final int BUFFER = 64 << 10;

  private final FdReader from;
  private final OutputStream to;
  private final Thread thread;

  private OutputPump(FdReader from, OutputStream to) {
    this.from = from;
    this.to = to;
    this.thread = Thread.ofVirtual().name(Thread.currentThread().getName()).unstarted(this::run);
  }

  /** Takes the reader over and closes it at its end. */
  static OutputPump start(FdReader from, OutputStream to) {
    OutputPump pump = new OutputPump(from, to);
    pump.thread.start();
    return pump;
  }

  private void run() {
    try (from) {
      boolean wanted = true;
      byte[] buffer = new byte[BUFFER];
      for (int n = from.read(buffer); n > 0; n = from.read(buffer)) {
        if (wanted) {
          wanted = write(buffer, n);
        }
      }
    } catch (InterruptedException e) {
      // stopped
    }
  }

  private boolean write(byte[] buffer, int count) throws InterruptedException {
    try {
      to.write(buffer, 0, count);
      return true;
    } catch (IOException e) { // the client has gone
      if (Thread.interrupted()) {
        throw new InterruptedException();
      }
      return false;
    }
  }

  /** The command has ended: carries what it has written until now, and no more. */
  void endWithWhatIsThere() {
    from.endWithWhatIsThere();
  }

  /** Waits until everything is carried. */
  void join() throws InterruptedException {
    thread.join();
  }

  /** As {@link #join()}, but for some time at most. */
  boolean join(Duration limit) throws InterruptedException {
    return thread.join(limit);
  }

  /** Ends it at once; the command sees a closed pipe. */
  void stop() {
    thread.interrupt();
  }
}
