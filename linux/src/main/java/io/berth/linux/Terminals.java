package io.berth.linux;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Settings of terminals, by either end, ioctl_tty(2). */
public final class Terminals {
  private static final long TIOCSWINSZ = 0x5414;

  private Terminals() {}

  /** Sets the size; the kernel tells the foreground processes with SIGWINCH. */
  public static void resize(Fd terminal, int rows, int columns) {
    byte[] size =
        ByteBuffer.allocate(8)
            .order(ByteOrder.nativeOrder())
            .putShort((short) rows)
            .putShort((short) columns)
            .array();
    Libc.check(Libc.ioctl(terminal.number(), TIOCSWINSZ, size), "set a terminal's size");
  }
}
