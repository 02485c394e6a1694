package io.berth.linux;

/** A system call that the kernel refused. The message reads {@code operation: text (NAME)}. */
public final class ErrnoException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final int errno;

  /**
   * @param operation what was tried, with its objects, as in {@code mount overlay on /run/x}
   */
  public ErrnoException(String operation, int errno) {
    super(operation + ": " + Libc.strerror(errno) + " (" + Errno.name(errno) + ")");
    this.errno = errno;
  }

  public int errno() {
    return errno;
  }

  /** The symbolic name, as in {@code EBUSY}. */
  public String name() {
    return Errno.name(errno);
  }

  public boolean is(int other) {
    return errno == other;
  }
}
