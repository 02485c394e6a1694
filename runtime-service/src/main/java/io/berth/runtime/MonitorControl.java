package io.berth.runtime;

import io.berth.linux.ErrnoException;
import io.berth.linux.Fd;
import io.berth.linux.ProcessRef;
import io.berth.runtime.ContainerException.Reason;
import io.berth.streaming.TerminalSize;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Orders to a running conmon, through the FIFO in its bundle: a terminal's size, and the log's
 * reopening. Of what it reads at once it obeys only the first line, so one writer at a time writes
 * one line and waits until it is read.
 */
final class MonitorControl {
  private static final Logger log = LoggerFactory.getLogger(MonitorControl.class);
  private static final int STRIPES = 16;
  private static final Duration LIMIT = Duration.ofSeconds(30);
  private static final Duration POLL = Duration.ofMillis(1);

  /** The container's own group may read it, as log collectors expect. */
  static final Set<PosixFilePermission> LOG_MODE = PosixFilePermissions.fromString("rw-r-----");

  private final ContainerLayout layout;
  private final List<ReentrantLock> writers =
      IntStream.range(0, STRIPES).mapToObj(_ -> new ReentrantLock()).toList();

  MonitorControl(ContainerLayout layout) {
    this.layout = layout;
  }

  /** Sizes of a container's terminal, of which the latest counts. */
  Sizes sizes(Container container) {
    return new Sizes(container);
  }

  /** Passes sizes on without holding up who tells them. */
  final class Sizes implements Consumer<TerminalSize>, AutoCloseable {
    private final Container container;
    private final AtomicReference<@Nullable TerminalSize> latest = new AtomicReference<>();
    private @Nullable Thread teller; // guarded by this
    private boolean closed; // guarded by this

    private Sizes(Container container) {
      this.container = container;
    }

    @Override
    public void accept(TerminalSize size) {
      if (latest.getAndSet(size) == null) { // else the one who tells comes to this one
        synchronized (this) {
          if (!closed) {
            Thread before = teller;
            teller =
                Thread.ofVirtual()
                    .name(Thread.currentThread().getName())
                    .start(() -> tellAfter(before));
          }
        }
      }
    }

    private void tellAfter(@Nullable Thread before) {
      try {
        if (before != null) {
          before.join();
        }
        TerminalSize size = latest.getAndSet(null);
        if (size != null) {
          tell(container, "1 " + size.height() + " " + size.width());
        }
      } catch (ContainerException | ErrnoException e) {
        log.debug("resize the terminal of container {}: {}", container.id(), e.getMessage());
      } catch (InterruptedException e) {
        // the session has ended
      }
    }

    @Override
    public synchronized void close() {
      closed = true;
      if (teller != null) {
        teller.interrupt();
      }
    }
  }

  /**
   * Lets conmon write to a new file from now on, whose name is free because the old one was given
   * another. When this returns, nothing will be written to the old file any more. Without a log, or
   * when the file still has its name, there is nothing to do.
   *
   * @throws ContainerException WRONG_STATE unless it runs, and no file is made; RUNTIME_FAILED
   */
  void reopenLog(Container container) throws InterruptedException {
    String operation = "reopen the log of container " + container.id();
    ProcessRef monitor = container.monitor();
    if (container.state() != ContainerState.RUNNING || monitor == null) {
      throw new ContainerException(
          Reason.WRONG_STATE,
          operation + ": it is " + container.state() + "; only a running container writes a log");
    }
    if (container.logPath().isEmpty()) {
      return;
    }
    Path path = Path.of(container.logPath());
    ReentrantLock writer = writer(container.id());
    writer.lockInterruptibly();
    try {
      if (!writes(monitor, path)) {
        replace(container, monitor, path);
      }
    } catch (IOException e) {
      throw new ContainerException(
          Reason.RUNTIME_FAILED, operation + ": " + e.getMessage() + "; try again", e);
    } finally {
      writer.unlock();
    }
  }

  /** Conmon renames LOG.tmp to LOG, and would make it with a mode of its own. */
  private void replace(Container container, ProcessRef monitor, Path path)
      throws IOException, InterruptedException {
    Path next = path.resolveSibling(path.getFileName() + ".tmp");
    Files.deleteIfExists(next);
    makeLog(next);
    boolean replaced = false;
    try {
      Object made = fileKey(next).orElseThrow();
      tell(container, "2 0 0");
      // It has closed the old file before it renames.
      replaced =
          await(() -> fileKey(path).filter(made::equals).isPresent() || !monitor.isAlive())
              && fileKey(path).filter(made::equals).isPresent();
      if (!replaced) {
        throw new ContainerException(
            Reason.RUNTIME_FAILED,
            "reopen the log of container "
                + container.id()
                + ": its conmon "
                + (monitor.isAlive()
                    ? "hasn't done it within " + LIMIT.toSeconds() + " s"
                    : "has ended")
                + "; try again");
      }
    } finally {
      if (!replaced) {
        Files.deleteIfExists(next);
      }
    }
  }

  /** Makes an empty log file, unless there is one. */
  static void makeLog(Path path) throws IOException {
    try {
      Files.createFile(path, PosixFilePermissions.asFileAttribute(LOG_MODE));
      Files.setPosixFilePermissions(path, LOG_MODE); // whatever the umask is
    } catch (FileAlreadyExistsException e) {
      // a container that is made again goes on with it
    }
  }

  /** Whether one of conmon's open files is the one of this name. */
  private static boolean writes(ProcessRef monitor, Path path) throws IOException {
    Optional<Object> named = fileKey(path);
    if (named.isEmpty()) {
      return false;
    }
    try (DirectoryStream<Path> open =
        Files.newDirectoryStream(Path.of("/proc", Integer.toString(monitor.pid()), "fd"))) {
      for (Path fd : open) {
        if (fileKey(fd).equals(named)) {
          return true;
        }
      }
    } catch (NoSuchFileException e) {
      // it has ended
    }
    return false;
  }

  /** Device and inode of what has this name now. */
  private static Optional<Object> fileKey(Path path) {
    try {
      return Optional.ofNullable(Files.readAttributes(path, BasicFileAttributes.class).fileKey());
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  /** Writes one line and waits until it is read. */
  private void tell(Container container, String line) throws InterruptedException {
    ReentrantLock writer = writer(container.id());
    writer.lockInterruptibly();
    try (Fd control = Fd.openFifo(layout.control(container.id()))) {
      if (!await(() -> control.unread() == 0)) {
        throw deaf(container);
      }
      control.write((line + "\n").getBytes(java.nio.charset.StandardCharsets.US_ASCII));
      if (!await(() -> control.unread() == 0)) {
        throw deaf(container);
      }
    } catch (ErrnoException e) {
      throw new ContainerException(
          Reason.RUNTIME_FAILED,
          "tell the conmon of container " + container.id() + ": " + e.getMessage(),
          e);
    } finally {
      writer.unlock();
    }
  }

  private static ContainerException deaf(Container container) {
    return new ContainerException(
        Reason.RUNTIME_FAILED,
        "tell the conmon of container "
            + container.id()
            + ": it hasn't listened for "
            + LIMIT.toSeconds()
            + " s; its disk may hang");
  }

  private static boolean await(BooleanSupplier condition) throws InterruptedException {
    long deadline = System.nanoTime() + LIMIT.toNanos();
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() - deadline > 0) {
        return false;
      }
      Thread.sleep(POLL);
    }
    return true;
  }

  private ReentrantLock writer(ContainerId id) {
    return writers.get(Math.floorMod(id.hashCode(), STRIPES));
  }
}
