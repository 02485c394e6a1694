package io.berth.linux;

import com.google.errorprone.annotations.MustBeClosed;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** What the JDK's sockets can't: packets in order, unix(7). */
public final class UnixSockets {
  static final int AF_UNIX = 1;
  static final int SOCK_STREAM = 1;
  static final int SOCK_CLOEXEC = 02000000;
  static final int SOCK_NONBLOCK = 04000;
  private static final int SOCK_SEQPACKET = 5;
  private static final int PATH_LIMIT = 108; // sun_path, with its NUL

  private UnixSockets() {}

  /**
   * Connects to a socket of type SOCK_SEQPACKET, however long the folder's path is.
   *
   * @throws ErrnoException ENOENT, ECONNREFUSED when nobody listens; EAGAIN when too many wait
   */
  @MustBeClosed
  public static Fd connectPackets(Path folder, String name) {
    try (Fd place = Fd.openFolder(folder)) {
      Fd socket =
          new Fd(
              Libc.check(
                  Libc.socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                  "open a socket"));
      try {
        byte[] address = address(place.procPath().resolve(name));
        Libc.check(
            Libc.connect(socket.number(), address, address.length),
            "connect to " + folder.resolve(name));
        return socket;
      } catch (ErrnoException e) {
        socket.close();
        throw e;
      }
    }
  }

  /** A struct sockaddr_un. */
  static byte[] address(Path path) {
    byte[] name = path.toString().getBytes(StandardCharsets.UTF_8);
    if (name.length >= PATH_LIMIT) {
      throw new ErrnoException("use " + path + " as a socket's address", Errno.ENAMETOOLONG);
    }
    return ByteBuffer.allocate(2 + name.length + 1)
        .order(ByteOrder.nativeOrder())
        .putShort((short) AF_UNIX)
        .put(name)
        .array();
  }
}
