package io.berth.linux;

import com.sun.jna.Native;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
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
  private static final int SIGKILL = 9;

  private static final Path UNSHARE = Path.of("/usr/bin/unshare");

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
          pinAll(pins(kinds, pinFolder), Path.of("/proc/thread-self/ns"), setup);
          return null;
        });
  }

  /**
   * As {@link #create}, with a user namespace more, which comes first and owns the others: whoever
   * is root in it may then do in them what root may. A process with several threads can't make one
   * (unshare(2), EINVAL), so a helper does and waits until its namespaces are pinned.
   *
   * @param kinds may be empty
   * @param user to be pinned at {@code user.pin()}, whose name is {@code user}
   * @throws ErrnoException naming the step that the kernel refused
   * @throws UncheckedIOException when the helper can't make them
   */
  @SuppressWarnings("try") // the helper goes on until nobody holds the other end of its pipe
  public static void createOwned(
      Set<Kind> kinds, UserNamespace user, Path pinFolder, InNamespace setup)
      throws InterruptedException {
    List<String> argv = new ArrayList<>(List.of(UNSHARE.toString(), "--user"));
    kinds.forEach(kind -> argv.add("--" + kind.file()));
    argv.addAll(List.of("sh", "-c", "echo made >&3; read -r _ <&4"));
    Fd[] hold = Fd.pipe();
    try (MessagePipe made = MessagePipe.open();
        Fd release = hold[0];
        Fd keep = hold[1]) {
      Subprocess helper =
          Subprocess.command(argv).pass(made.writeEnd(), 3).pass(release, 4).start();
      try {
        made.handOver();
        if (made.await() == null) {
          String said = helper.await().err();
          throw new UncheckedIOException(
              "make a user namespace with "
                  + UNSHARE
                  + ": "
                  + said.strip()
                  + "; check /proc/sys/user/max_user_namespaces",
              new IOException(said));
        }
        Path process = Path.of("/proc", Integer.toString(helper.pid()));
        writeMap(process.resolve("uid_map"), user.uids());
        writeMap(process.resolve("gid_map"), user.gids());
        List<Path> pins = new ArrayList<>(List.of(user.pin()));
        pins.addAll(pins(kinds, pinFolder));
        onOwnThread(
            "namespaces",
            () -> {
              pinAll(
                  pins,
                  process.resolve("ns"),
                  () -> {
                    pins(kinds, pinFolder).forEach(Namespaces::enter);
                    setup.run();
                  });
              return null;
            });
      } finally {
        helper.kill(SIGKILL);
        var _ = helper.onExit(); // reaped by the event loop
      }
    }
  }

  private static void writeMap(Path file, List<UserNamespace.Range> ranges) {
    try {
      // One write(2): the kernel takes a map whole, and once.
      Files.writeString(file, UserNamespace.map(ranges), StandardOpenOption.WRITE);
    } catch (IOException e) {
      throw new UncheckedIOException(
          "map ids " + ranges + " in " + file.getFileName() + ": " + e.getMessage(), e);
    }
  }

  private static List<Path> pins(Set<Kind> kinds, Path pinFolder) {
    return kinds.stream().map(kind -> pinFolder.resolve(kind.file())).toList();
  }

  /** Every pin has the name that its namespace has in {@code from}, a /proc/PID/ns. */
  private static void pinAll(List<Path> pins, Path from, InNamespace setup) throws Exception {
    boolean done = false;
    try {
      for (Path pin : pins) {
        if (!Files.exists(pin)) {
          Files.createFile(pin);
        }
        Mounts.bind(from.resolve(pin.getFileName()), pin);
      }
      setup.run();
      done = true;
    } finally {
      if (!done) {
        pins.forEach(Namespaces::unpin);
      }
    }
  }

  private static void enter(Path pin) {
    try (Fd fd = Fd.openRead(pin)) {
      Libc.check(Libc.setns(fd.number(), 0), "enter namespace " + pin);
    }
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
          enter(pin);
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
            if (enterNetwork(networkPins.get(i))) {
              visit.accept(i);
            }
          }
          return null;
        });
  }

  private static boolean enterNetwork(Path pin) {
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
