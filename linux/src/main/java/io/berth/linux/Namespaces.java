package io.berth.linux;

import com.sun.jna.Native;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.IntConsumer;

/**
 * Namespaces made in this process and kept alive by bind mounts, without a process inside: a thread
 * leaves the daemon's namespaces with unshare(2), pins the new ones, sets them up and ends.
 */
public final class Namespaces {
  private static final int AF_INET = 2;
  private static final int SOCK_DGRAM = 2;
  private static final int SOCK_CLOEXEC = 02000000;
  private static final long SIOCGIFFLAGS = 0x8913;
  private static final long SIOCSIFFLAGS = 0x8914;
  private static final int IFF_UP = 1;

  /** The kinds that a pod shares and that need no process to exist. */
  public enum Kind {
    NET("net", 0x40000000),
    IPC("ipc", 0x08000000),
    UTS("uts", 0x04000000);

    private final String file;
    private final int flag;

    Kind(String file, int flag) {
      this.file = file;
      this.flag = flag;
    }

    /** The name under /proc/PID/ns, and of the pin. */
    public String file() {
      return file;
    }
  }

  /**
   * What runs on the thread that is inside. Blocking file access here sees the new namespaces'
   * /proc/sys.
   */
  @FunctionalInterface
  public interface InNamespace {
    void run() throws Exception;
  }

  private Namespaces() {}

  /**
   * Makes new namespaces of the given kinds, pins each at {@code pinFolder/KIND} and runs {@code
   * setup} inside.
   *
   * @param pinFolder exists; nothing stays pinned in it when this fails
   * @throws ErrnoException naming the step that the kernel refused
   */
  public static void create(Set<Kind> kinds, Path pinFolder, InNamespace setup) {
    onOwnThread(
        "namespaces",
        () -> {
          int flags = 0;
          for (Kind kind : kinds) {
            flags |= kind.flag;
          }
          Libc.check(Libc.unshare(flags), "make namespaces " + kinds);
          boolean done = false;
          try {
            for (Kind kind : kinds) {
              Path pin = pinFolder.resolve(kind.file());
              if (!Files.exists(pin)) {
                Files.createFile(pin);
              }
              Mounts.bind(Path.of("/proc/thread-self/ns", kind.file()), pin);
            }
            setup.run();
            done = true;
          } finally {
            if (!done) {
              for (Kind kind : kinds) {
                unpin(pinFolder.resolve(kind.file()));
              }
            }
          }
          return null;
        });
  }

  /**
   * Lets a pinned namespace go; one that isn't pinned is fine. The kernel ends it when nothing else
   * uses it.
   */
  public static void unpin(Path pin) {
    Mounts.detach(pin);
    try {
      Files.deleteIfExists(pin);
    } catch (IOException e) {
      throw new UncheckedIOException("remove pin " + pin + ": " + e.getMessage(), e);
    }
  }

  /** True when a namespace, and not just a file, is at {@code pin}. */
  public static boolean isPinned(Path pin) {
    return Mounts.table().stream().anyMatch(m -> m.type().equals("nsfs") && m.target().equals(pin));
  }

  /** Runs {@code body} on a thread inside a pinned namespace. */
  public static <T> T inside(Path pin, Callable<T> body) {
    return onOwnThread(
        "inside " + pin.getFileName(),
        () -> {
          try (Fd fd = Fd.openRead(pin)) {
            Libc.check(Libc.setns(fd.number(), 0), "enter namespace " + pin);
          }
          return body.call();
        });
  }

  /**
   * Enters pinned network namespaces one after the other, on one thread that ends afterwards, and
   * looks around in each: cheaper than a thread for each, and nobody stays in one that is to go.
   *
   * @param visit gets the number of the pin; what it does sees the namespace under
   *     /proc/thread-self/net. Pins that are gone are left out
   */
  public static void visit(List<Path> networkPins, IntConsumer visit) {
    onOwnThread(
        "visit networks",
        () -> {
          for (int i = 0; i < networkPins.size(); i++) {
            if (enter(networkPins.get(i))) {
              visit.accept(i);
            }
          }
          return null;
        });
  }

  private static boolean enter(Path pin) {
    int number = Libc.open(Libc.path(pin), Libc.O_RDONLY | Libc.O_CLOEXEC, 0);
    if (number < 0 && Native.getLastError() == Errno.ENOENT) {
      return false; // the pod has ended meanwhile
    }
    try (Fd fd = new Fd(Libc.check(number, "open " + pin))) {
      int entered = Libc.setns(fd.number(), Kind.NET.flag);
      if (entered < 0 && Native.getLastError() == Errno.EINVAL) {
        return false; // just unpinned: a plain file
      }
      Libc.check(entered, "enter namespace", pin);
      return true;
    }
  }

  /** Brings {@code lo} up in the calling thread's network namespace, netdevice(7). */
  public static void raiseLoopback() {
    byte[] request = new byte[40]; // struct ifreq: 16 bytes of name, then the flags
    byte[] name = "lo".getBytes(StandardCharsets.US_ASCII);
    System.arraycopy(name, 0, request, 0, name.length);
    try (Fd socket =
        new Fd(Libc.check(Libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "open a socket"))) {
      Libc.check(Libc.ioctl(socket.number(), SIOCGIFFLAGS, request), "read the flags of lo");
      request[16] |= IFF_UP;
      Libc.check(Libc.ioctl(socket.number(), SIOCSIFFLAGS, request), "raise lo");
    }
  }

  /** Sets the host name of the calling thread's UTS namespace. */
  public static void setHostname(String hostname) {
    byte[] name = hostname.getBytes(StandardCharsets.UTF_8);
    Libc.check(Libc.sethostname(name, name.length), "set hostname " + hostname);
  }

  /**
   * A platform thread of its own: the attributes changed are the thread's, and it ends with them.
   * Not interruptible, as what runs here is short.
   */
  static <T> T onOwnThread(String name, Callable<T> body) {
    CompletableFuture<T> result = new CompletableFuture<>();
    Thread thread =
        new Thread(
            null,
            () -> {
              try {
                result.complete(body.call());
              } catch (Throwable e) {
                result.completeExceptionally(e);
              }
            },
            name,
            256 << 10);
    thread.start();
    try {
      return result.join();
    } catch (CompletionException e) {
      if (e.getCause() instanceof RuntimeException cause) {
        throw cause;
      }
      if (e.getCause() instanceof Error cause) {
        throw cause;
      }
      if (e.getCause() instanceof IOException cause) {
        throw new UncheckedIOException(cause.getMessage(), cause);
      }
      throw new IllegalStateException(e.getCause());
    }
  }
}
