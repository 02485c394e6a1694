package io.berth.linux;

import com.sun.jna.Native;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;

/**
 * TCP connections to the loopback of a network namespace. A socket belongs to the namespace of the
 * thread that makes it (network_namespaces(7)), so it is made and connected on a thread inside, and
 * can be used from anywhere afterwards.
 */
public final class Loopback {
  private static final int AF_INET = 2;
  private static final int AF_INET6 = 10;
  private static final int SOCK_STREAM = 1;
  private static final int SOCK_CLOEXEC = 02000000;
  private static final int SOL_SOCKET = 1;
  private static final int SO_SNDTIMEO = 21;
  private static final int F_SETFL = 4;
  private static final byte[] V4 = {127, 0, 0, 1};
  private static final byte[] V6 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

  private Loopback() {}

  /**
   * Connects to {@code 127.0.0.1:port}, and when that fails to {@code [::1]:port}.
   *
   * @param namespace where the network namespace is pinned; absent is the machine's
   * @param port 1 to 65535
   * @param timeout for each of the two attempts
   * @return a connected, non-blocking socket, close-on-exec
   * @throws ErrnoException of the IPv4 attempt, or naming what else failed
   */
  public static Fd connect(Optional<Path> namespace, int port, Duration timeout) {
    // On a thread of its own in either case: connect(2) would pin a virtual thread's carrier.
    return namespace.isPresent()
        ? Namespaces.inside(namespace.get(), () -> connect(port, timeout))
        : Namespaces.onOwnThread("connect", () -> connect(port, timeout));
  }

  private static Fd connect(int port, Duration timeout) {
    try {
      return connect(AF_INET, V4, port, timeout);
    } catch (ErrnoException noIpv4) {
      try {
        return connect(AF_INET6, V6, port, timeout);
      } catch (ErrnoException noIpv6) {
        // A pod without IPv6 says little about itself with that; IPv4's reason is the telling one.
        noIpv4.addSuppressed(noIpv6);
        throw noIpv4;
      }
    }
  }

  private static Fd connect(int family, byte[] host, int port, Duration timeout) {
    String name = (family == AF_INET ? "127.0.0.1:" : "[::1]:") + port;
    Fd socket =
        new Fd(Libc.check(Libc.socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), "open a socket"));
    boolean connected = false;
    try {
      // socket(7): the timeout of sending is that of connecting too.
      byte[] timeval =
          ByteBuffer.allocate(16)
              .order(ByteOrder.nativeOrder())
              .putLong(timeout.toSeconds())
              .putLong(timeout.toNanosPart() / 1000)
              .array();
      Libc.check(
          Libc.setsockopt(socket.number(), SOL_SOCKET, SO_SNDTIMEO, timeval, timeval.length),
          "set the time to connect");
      byte[] address = address(family, host, port);
      if (Libc.connect(socket.number(), address, address.length) < 0) {
        int errno = Native.getLastError();
        throw new ErrnoException(
            "connect to " + name, errno == Errno.EINPROGRESS ? Errno.ETIMEDOUT : errno);
      }
      Libc.check(
          Libc.fcntl(socket.number(), F_SETFL, Libc.O_NONBLOCK), "make the socket non-blocking");
      connected = true;
      return socket;
    } finally {
      if (!connected) {
        socket.close();
      }
    }
  }

  /** struct sockaddr_in of ip(7), struct sockaddr_in6 of ipv6(7). */
  private static byte[] address(int family, byte[] host, int port) {
    ByteBuffer address = ByteBuffer.allocate(family == AF_INET ? 16 : 28);
    address.order(ByteOrder.nativeOrder()).putShort((short) family);
    address.order(ByteOrder.BIG_ENDIAN).putShort((short) port);
    if (family == AF_INET6) {
      address.putInt(0); // flow information
    }
    return address.put(host).array();
  }
}
