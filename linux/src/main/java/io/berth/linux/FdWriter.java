package io.berth.linux;

import com.sun.jna.Memory;
import com.sun.jna.Native;
import java.util.concurrent.Semaphore;

/**
 * The counterpart of {@link FdReader}: waits on the event loop while the other end doesn't read.
 */
public final class FdWriter implements AutoCloseable {
  private static final int CAPACITY = 32 << 10;
  private static final int SHUT_WR = 1;

  private final Fd fd;
  private final Memory buffer = new Memory(CAPACITY);
  private final Semaphore wake = new Semaphore(0);
  private boolean armed;

  /** Takes the descriptor over and makes it non-blocking. */
  public FdWriter(Fd fd) {
    this.fd = fd;
    fd.makeNonBlocking();
  }

  /**
   * Writes all of it.
   *
   * @return false when nobody will ever read it
   */
  public boolean write(byte[] bytes, int count) throws InterruptedException {
    int done = 0;
    while (done < count) {
      int part = Math.min(count - done, CAPACITY);
      buffer.write(0, bytes, done, part);
      long n = Libc.write(fd.number(), buffer, part);
      if (n >= 0) {
        done += (int) n;
        continue;
      }
      int errno = Native.getLastError();
      switch (errno) {
        case Errno.EINTR -> {}
        case Errno.EAGAIN -> {
          Reactor.get().arm(fd, Reactor.OUT, wake::release);
          armed = true;
          wake.acquire();
        }
        case Errno.EPIPE, Errno.EIO, Errno.ECONNRESET -> {
          return false;
        }
        default -> throw new ErrnoException("write", errno);
      }
    }
    return true;
  }

  /** Of a socket: the other side reads the end, and may go on writing. */
  public void endSocket() {
    var _ = Libc.shutdown(fd.number(), SHUT_WR); // fails only when the other side has gone
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
