package io.berth.linux;

import com.google.errorprone.annotations.MustBeClosed;
import com.sun.jna.Memory;
import com.sun.jna.Native;
import java.nio.file.Path;

/**
 * Where an OCI runtime delivers a terminal that it has made inside a container: it connects to a
 * unix socket and sends the master's descriptor with SCM_RIGHTS, as its option --console-socket
 * says.
 */
public final class ConsoleSocket implements AutoCloseable {
  private static final int MSG_CMSG_CLOEXEC = 0x40000000;
  private static final int SOL_SOCKET = 1;
  private static final int SCM_RIGHTS = 1;
  // struct msghdr and struct cmsghdr of 64-bit machines, in this order in one block.
  private static final int IOV = 56;
  private static final int DATA = IOV + 16;
  private static final int DATA_SIZE = 1024; // the runtime's name for the terminal; of no interest
  private static final int CONTROL = DATA + DATA_SIZE;
  private static final int CONTROL_SIZE = 64;

  private final Fd folder;
  private final String name;
  private final Fd listener;

  private ConsoleSocket(Fd folder, String name, Fd listener) {
    this.folder = folder;
    this.name = name;
    this.listener = listener;
  }

  /** Listens; {@link #close} removes the file. */
  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // handed over, or closed below
  public static ConsoleSocket listen(Path folder, String name) {
    Fd place = Fd.openFolder(folder);
    Fd socket = null;
    try {
      socket =
          new Fd(
              Libc.check(
                  Libc.socket(
                      UnixSockets.AF_UNIX,
                      UnixSockets.SOCK_STREAM
                          | UnixSockets.SOCK_CLOEXEC
                          | UnixSockets.SOCK_NONBLOCK,
                      0),
                  "open a socket"));
      byte[] address = UnixSockets.address(place.procPath().resolve(name));
      Libc.check(
          Libc.bind(socket.number(), address, address.length),
          "make socket " + folder.resolve(name));
      Libc.check(Libc.listen(socket.number(), 1), "listen on " + folder.resolve(name));
      return new ConsoleSocket(place, name, socket);
    } catch (ErrnoException e) {
      if (socket != null) {
        socket.close();
      }
      place.close();
      throw e;
    }
  }

  /**
   * For the runtime's command line: short enough for a socket's address, whatever the folder's path
   * is, as long as this is open.
   */
  public Path address() {
    return Path.of(
        "/proc/" + ProcessHandle.current().pid() + "/fd/" + folder.number() + "/" + name);
  }

  /**
   * The terminal's master. Not waited for: it has been sent when the runtime has ended.
   *
   * @throws ErrnoException EAGAIN when nothing was sent
   */
  public Fd receive() {
    try (Fd connection =
            new Fd(
                Libc.check(
                    Libc.accept4(
                        listener.number(),
                        null,
                        null,
                        UnixSockets.SOCK_CLOEXEC | UnixSockets.SOCK_NONBLOCK),
                    "accept the runtime's connection"));
        Memory block = new Memory(CONTROL + CONTROL_SIZE)) {
      block.clear();
      block.setPointer(16, block.share(IOV));
      block.setLong(24, 1);
      block.setPointer(32, block.share(CONTROL));
      block.setLong(40, CONTROL_SIZE);
      block.setPointer(IOV, block.share(DATA));
      block.setLong(IOV + 8, DATA_SIZE);
      long _ =
          Libc.check(
              Libc.recvmsg(connection.number(), block, MSG_CMSG_CLOEXEC), "receive a terminal");
      long length = block.getLong(CONTROL);
      if (block.getLong(40) < 20
          || block.getInt(CONTROL + 8) != SOL_SOCKET
          || block.getInt(CONTROL + 12) != SCM_RIGHTS) {
        throw new ErrnoException("receive a terminal", Errno.ENODATA);
      }
      for (long at = 20; at + 4 <= length; at += 4) { // a second one would be nobody's
        var _ = Libc.close(block.getInt(CONTROL + at));
      }
      return new Fd(block.getInt(CONTROL + 16));
    }
  }

  @Override
  public void close() {
    listener.close();
    if (Libc.unlinkat(folder.number(), Libc.path(name), 0) < 0
        && Native.getLastError() != Errno.ENOENT) {
      int errno = Native.getLastError();
      folder.close();
      throw new ErrnoException("remove socket " + name, errno);
    }
    folder.close();
  }
}
