package io.berth.linux;

import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A folder whose files are read again and again with {@link KernelFile}, such as a cgroup. They
 * stay open: to open one of them takes the kernel some ten times as long as to read it. For one
 * thread at a time.
 */
public final class KernelFolder implements AutoCloseable {
  /** How many files may be kept open, those of all folders together. */
  public static final class Room {
    private final AtomicInteger left;

    public Room(int files) {
      left = new AtomicInteger(files);
    }

    private boolean take() {
      return left.getAndUpdate(n -> n > 0 ? n - 1 : 0) > 0;
    }

    private void giveBack() {
      var _ = left.incrementAndGet();
    }
  }

  private final byte[] path;
  private final Room room;
  private byte[][] names = new byte[0][];
  private int[] files = new int[0];
  private boolean closed;

  /**
   * Opens nothing yet.
   *
   * @param path absolute, see {@link KernelFile#name}; it need not exist
   */
  public KernelFolder(byte[] path, Room room) {
    this.path = path;
    this.room = room;
  }

  byte[] path() {
    return path;
  }

  /** The descriptor of a file that is kept open; -1 if it isn't. */
  int kept(byte[] name) {
    int at = find(name);
    return at < 0 ? -1 : files[at];
  }

  /** Takes an open file into its care, if there is room for it. */
  boolean keep(byte[] name, int file) {
    if (closed || !room.take()) {
      return false;
    }
    names = Arrays.copyOf(names, names.length + 1);
    files = Arrays.copyOf(files, names.length);
    names[names.length - 1] = name;
    files[names.length - 1] = file;
    return true;
  }

  /** Closes a file that can no longer be read. */
  void drop(byte[] name) {
    int at = find(name);
    int last = names.length - 1;
    close(files[at]);
    names[at] = names[last];
    files[at] = files[last];
    names = Arrays.copyOf(names, last);
    files = Arrays.copyOf(files, last);
  }

  /** From now on nothing is kept open. It can be read still. */
  @Override
  public void close() {
    closed = true;
    for (int file : files) {
      close(file);
    }
    names = new byte[0][];
    files = new int[0];
  }

  private void close(int file) {
    var _ = Libc.close(file);
    room.giveBack();
  }

  /** There are few. */
  private int find(byte[] name) {
    for (int i = 0; i < names.length; i++) {
      if (Arrays.equals(names[i], name)) {
        return i;
      }
    }
    return -1;
  }
}
