package io.berth.linux;

import com.sun.jna.Memory;
import com.sun.jna.Native;
import java.util.concurrent.Semaphore;

/**
 * The counterpart of {@link FdReader}: waits on the event loop while the other end doesn't read.
 */
public final class FdWriter implements AutoCloseable {
  private static final int CAPACITY = 32 << 10;

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
    for (int done = 0; done < count; ) {
      int part = Math.min(count - done, CAPACITY);
      buffer.write(0, bytes, done, part);
      int written = writeBuffer(part);
      if (written < 0) {
        return false;
      }
      done += written;
    }
    return true;
  }

  /**
   * For a socket of packets, whose reader takes an empty one for the end.
   *
   * @return as {@link #write}
   */
  public boolean writeEmptyPacket() throws InterruptedException {
    return writeBuffer(0) >= 0;
  }

  /** Waits for room; -1 when nobody will ever read it. */
  private int writeBuffer(int count) throws InterruptedException {
    while (true) {
      long n = Libc.write(fd.number(), buffer, count);
      if (n >= 0) {
        return (int) n;
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
          return -1;
        }
        default -> throw new ErrnoException("write", errno);
      }
    }
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
