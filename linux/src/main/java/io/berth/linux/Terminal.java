package io.berth.linux;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/**
 * The terminal at standard input and output, for programs that redraw it: until it is closed, keys
 * arrive one by one and aren't echoed. Signals by key work as ever.
 */
public final class Terminal implements AutoCloseable {
  // ioctl_tty(2), termios(3); the same on x86-64 and arm64.
  private static final long TCGETS = 0x5401;
  private static final long TCSETS = 0x5402;
  private static final long TIOCGWINSZ = 0x5413;
  private static final int TERMIOS_SIZE = 36;
  private static final int LOCAL_FLAGS = 12; // offset of c_lflag
  private static final int ICANON = 2;
  private static final int ECHO = 8;
  private static final int INPUT = 0;
  private static final int OUTPUT = 1;

  private final byte[] before;

  private Terminal(byte[] before) {
    this.before = before;
  }

  /** Empty unless both standard input and standard output are a terminal. */
  public static Optional<Terminal> open() {
    byte[] before = new byte[TERMIOS_SIZE];
    byte[] output = new byte[TERMIOS_SIZE];
    if (Libc.ioctl(INPUT, TCGETS, before) != 0 || Libc.ioctl(OUTPUT, TCGETS, output) != 0) {
      return Optional.empty();
    }
    byte[] raw = before.clone();
    ByteBuffer fields = ByteBuffer.wrap(raw).order(ByteOrder.nativeOrder());
    fields.putInt(LOCAL_FLAGS, fields.getInt(LOCAL_FLAGS) & ~(ICANON | ECHO));
    return Libc.ioctl(INPUT, TCSETS, raw) == 0
        ? Optional.of(new Terminal(before))
        : Optional.empty();
  }

  /** Lines that fit on it; 24 where the terminal doesn't say. */
  public int rows() {
    return size(0, 24);
  }

  /** Characters that fit on a line; 80 where the terminal doesn't say. */
  public int columns() {
    return size(2, 80);
  }

  private static int size(int offset, int unknown) {
    byte[] window = new byte[8];
    if (Libc.ioctl(OUTPUT, TIOCGWINSZ, window) != 0) {
      return unknown;
    }
    int size = ByteBuffer.wrap(window).order(ByteOrder.nativeOrder()).getShort(offset) & 0xFFFF;
    return size == 0 ? unknown : size;
  }

  @Override
  public void close() {
    var _ = Libc.ioctl(INPUT, TCSETS, before);
  }
}
