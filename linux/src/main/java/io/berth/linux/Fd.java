package io.berth.linux;

import com.google.errorprone.annotations.MustBeClosed;
import com.sun.jna.Native;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * An open file descriptor with one owner. Closing twice is fine; using a closed one is an error,
 * never another file.
 */
public final class Fd implements AutoCloseable {
  private static final long FIONREAD = 0x541B;

  private final AtomicInteger number;

  Fd(int number) {
    this.number = new AtomicInteger(number);
  }

  /** Opens for reading, close-on-exec. */
  @MustBeClosed
  public static Fd openRead(Path path) {
    return new Fd(
        Libc.check(Libc.open(Libc.path(path), Libc.O_RDONLY | Libc.O_CLOEXEC, 0), "open " + path));
  }

  /** A pipe, close-on-exec: the read end first. */
  public static Fd[] pipe() {
    int[] ends = new int[2];
    Libc.check(Libc.pipe2(ends, Libc.O_CLOEXEC), "make a pipe");
    return new Fd[] {new Fd(ends[0]), new Fd(ends[1])};
  }

  /**
   * A folder as a place for names, without the right to read it: for paths that may be too long.
   */
  @MustBeClosed
  public static Fd openFolder(Path path) {
    return new Fd(
        Libc.check(
            Libc.open(Libc.path(path), Libc.O_PATH | Libc.O_DIRECTORY | Libc.O_CLOEXEC, 0),
            "open " + path));
  }

  /**
   * A FIFO for writing, which doesn't wait for a reader: ErrnoException ENXIO when there is none.
   */
  @MustBeClosed
  public static Fd openFifo(Path path) {
    return new Fd(
        Libc.check(
            Libc.open(Libc.path(path), Libc.O_WRONLY | Libc.O_NONBLOCK | Libc.O_CLOEXEC, 0),
            "open " + path));
  }

  /** How many bytes are in a pipe or terminal, seen from either end. */
  public int unread() {
    byte[] count = new byte[4];
    Libc.check(Libc.ioctl(number(), FIONREAD, count), "ask how much there is to read");
    return ByteBuffer.wrap(count).order(ByteOrder.nativeOrder()).getInt();
  }

  /** Another descriptor of the same open file, close-on-exec. */
  public Fd duplicate() {
    return new Fd(Libc.check(Libc.fcntl(number(), Libc.F_DUPFD_CLOEXEC, 0), "duplicate " + this));
  }

  /**
   * Reads and writes fail with EAGAIN instead of waiting; of the open file, so also in duplicates.
   */
  void makeNonBlocking() {
    Libc.check(
        Libc.fcntl(number(), 4 /* F_SETFL */, Libc.O_NONBLOCK), "set " + this + " non-blocking");
  }

  public int number() {
    int n = number.get();
    if (n < 0) {
      throw new IllegalStateException("file descriptor is closed");
    }
    return n;
  }

  /**
   * The path through which this process can name the open file, whatever happens to its own name.
   */
  public Path procPath() {
    return Path.of("/proc/self/fd/" + number());
  }

  /**
   * Reads at most {@code buffer.length} bytes; 0 at the end of the file. Blocks as the file does.
   */
  public int read(byte[] buffer) {
    while (true) {
      long n = Libc.read(number(), buffer, buffer.length);
      if (n >= 0) {
        return (int) n;
      }
      int errno = Native.getLastError();
      if (errno != Errno.EINTR) {
        throw new ErrnoException("read", errno);
      }
    }
  }

  public void write(byte[] content) {
    byte[] rest = content;
    while (rest.length > 0) {
      long n = Libc.write(number(), rest, rest.length);
      if (n < 0) {
        int errno = Native.getLastError();
        if (errno == Errno.EINTR) {
          continue;
        }
        throw new ErrnoException("write", errno);
      }
      rest = java.util.Arrays.copyOfRange(rest, (int) n, rest.length);
    }
  }

  /** Writes the first {@code count} bytes of a direct buffer, without copying them. */
  public void write(ByteBuffer direct, int count) {
    ByteBuffer rest = direct.slice(0, count);
    while (rest.hasRemaining()) {
      long n = Libc.write(number(), rest, rest.remaining());
      if (n >= 0) {
        rest = rest.slice((int) n, rest.remaining() - (int) n);
      } else if (Native.getLastError() != Errno.EINTR) {
        throw new ErrnoException("write", Native.getLastError());
      }
    }
  }

  /** Sets where the next write goes; what is skipped is a hole. */
  public void seek(long offset) {
    Libc.check(Libc.lseek(number(), offset, 0 /* SEEK_SET */), "seek");
  }

  /**
   * Where content begins at or after an offset: holes are left out where the file system knows
   * them.
   *
   * @throws ErrnoException ENXIO when there is none
   */
  public long seekData(long offset) {
    return Libc.check(Libc.lseek(number(), offset, 3 /* SEEK_DATA */), "seek content");
  }

  /** Lets the kernel forget pages that nobody else uses: posix_fadvise(2), a hint. */
  public void dropFromCache() {
    var _ = Libc.posix_fadvise(number(), 0, 0, 4 /* POSIX_FADV_DONTNEED */);
  }

  /** Sets the file's size; what is added is a hole. */
  public void truncate(long size) {
    Libc.check(Libc.ftruncate(number(), size), "set size");
  }

  /** Gives the descriptor away: its number, for whoever closes it now. */
  public int detach() {
    int n = number.getAndSet(-1);
    if (n < 0) {
      throw new IllegalStateException("file descriptor is closed");
    }
    return n;
  }

  @Override
  public void close() {
    int n = number.getAndSet(-1);
    if (n >= 0) {
      // Linux releases the number whatever close(2) returns, so its error says nothing that could
      // be acted on here.
      var _ = Libc.close(n);
    }
  }

  @Override
  public String toString() {
    return "fd " + number.get();
  }
}
