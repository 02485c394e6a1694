package io.berth.linux;

import com.sun.jna.Memory;
import com.sun.jna.Native;
import java.util.concurrent.Semaphore;

/**
 * Reads a pipe, a terminal or a socket from a virtual thread, which waits without a native call:
 * the event loop wakes it. Of one thread; {@link #endWithWhatIsThere} may come from another.
 */
public final class FdReader implements AutoCloseable {
  private static final int CAPACITY = 64 << 10;

  private final Fd fd;
  private final Memory buffer = new Memory(CAPACITY);
  private final Semaphore wake = new Semaphore(0);
  private boolean armed;
  private volatile boolean ending;
  private int remaining = -1; // bytes until the end, once the end is known

  /** Takes the descriptor over and makes it non-blocking. */
  public FdReader(Fd fd) {
    this.fd = fd;
    fd.makeNonBlocking();
  }

  /**
   * Waits for bytes.
   *
   * @return how many were read, at least one; -1 at the end, which a hung-up terminal and a reset
   *     socket have as well
   */
  public int read(byte[] bytes) throws InterruptedException {
    while (true) {
      int wanted = Math.min(bytes.length, CAPACITY);
      if (ending) {
        if (remaining < 0) {
          remaining = fd.unread();
        }
        wanted = Math.min(wanted, remaining);
        if (wanted == 0) {
          return -1;
        }
      }
      long n = Libc.read(fd.number(), buffer, wanted);
      if (n > 0) {
        buffer.read(0, bytes, 0, (int) n);
        remaining -= remaining > 0 ? (int) n : 0;
        return (int) n;
      }
      int errno = n == 0 ? 0 : Native.getLastError();
      switch (errno) {
        case 0, Errno.EIO, Errno.ECONNRESET -> {
          return -1;
        }
        case Errno.EINTR -> {}
        case Errno.EAGAIN -> {
          if (ending) { // set since this read, perhaps, and more written before that
            if (remaining < 0) {
              continue;
            }
            return -1;
          }
          Reactor.get().arm(fd, Reactor.IN, wake::release);
          armed = true;
          wake.acquire();
        }
        default -> throw new ErrnoException("read", errno);
      }
    }
  }

  /**
   * What has been written by now is still read, and then it is the end: others who hold the pipe
   * may never let go of it.
   */
  public void endWithWhatIsThere() {
    ending = true;
    wake.release();
  }

  @Override
  public void close() {
    if (armed) {
      armed = false;
      Reactor.get().forget(fd);
    }
    fd.close();
    buffer.close();
  }
}
