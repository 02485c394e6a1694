package io.berth.runtime;

import io.berth.linux.FolderWatch;
import io.berth.linux.PrivateFolder;
import io.berth.linux.ProcessRef;
import io.berth.sandbox.NamespaceMode;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Learns that containers have ended and records it. The truth is the exit file that conmon writes
 * when the log is complete; the end of conmon itself is watched as well, for the day on which it
 * was killed and can't write one.
 */
final class ExitWatch implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(ExitWatch.class);
  private static final int LOST = 255;

  private final ContainerLayout layout;
  private final ContainerStore store;
  private final OomKills oomKills;
  private final ContainerTeardown teardown;
  private final ConcurrentMap<ContainerId, CompletableFuture<Void>> waiters =
      new ConcurrentHashMap<>();
  private final FolderWatch exits;

  /** Watches from now on; containers are added with {@link #watch}. */
  ExitWatch(
      ContainerLayout layout, ContainerStore store, OomKills oomKills, ContainerTeardown teardown) {
    this.layout = layout;
    this.store = store;
    this.oomKills = oomKills;
    this.teardown = teardown;
    Path _ = PrivateFolder.make(layout.exits());
    this.exits = FolderWatch.start(layout.exits(), this::changed);
  }

  /** Sees to it that the end of this container is noticed, also one that came before this call. */
  void watch(Container container) {
    ContainerId id = container.id();
    oomKills.watch(container);
    ProcessRef monitor = container.monitor();
    if (Files.exists(layout.exitFile(id))) {
      settle(id);
    } else if (monitor != null) {
      monitor.onExit(() -> {
        monitorEnded(id);
        if (store.byId(id).filter(c -> c.state().live()).isEmpty()) {
          oomKills.forget(container);
        }
      });
    } else {
      monitorEnded(id);
    }
  }

  /**
   * Waits until the container is recorded as ended.
   *
   * @return false when it still lives after {@code limit}
   */
  boolean await(ContainerId id, Duration limit) throws InterruptedException {
    CompletableFuture<Void> ended = waiters.computeIfAbsent(id, _ -> new CompletableFuture<>());
    // Looked up after the waiter is there: a container that ends in between completes it.
    if (store.byId(id).filter(c -> c.state().live()).isEmpty()) {
      waiters.remove(id, ended);
      return true;
    }
    try {
      ended.get(limit.toNanos(), TimeUnit.NANOSECONDS);
      return true;
    } catch (TimeoutException e) {
      return false;
    } catch (ExecutionException e) {
      throw new IllegalStateException(e);
    }
  }

  @Override
  public void close() {
    exits.close();
  }

  private void changed(FolderWatch.Change change) {
    if (change.rescan()) {
      try (DirectoryStream<Path> files = Files.newDirectoryStream(layout.exits())) {
        files.forEach(file -> named(file.getFileName().toString()));
      } catch (IOException e) {
        log.error("exit files in {} can't be listed: {}", layout.exits(), e.getMessage());
      }
    } else {
      change.names().forEach(this::named);
    }
  }

  /** Conmon writes a temporary file first, whose name is no id. */
  private void named(String name) {
    if (ContainerId.isValid(name)) {
      settle(new ContainerId(name));
    }
  }

  private void monitorEnded(ContainerId id) {
    if (Files.exists(layout.exitFile(id))) {
      settle(id);
      return;
    }
    store
        .byId(id)
        .filter(c -> c.state().live())
        .ifPresent(c -> {
          ProcessRef init = c.init();
          if (init != null && init.isAlive()) {
            log.warn(
                "container {} has lost its conmon: its output and exit code can't be had any more",
                id);
            init.onExit(() -> settle(id));
          } else {
            settle(id);
          }
        });
  }

  /** Records the end, once, and lets go who waits for it. */
  private void settle(ContainerId id) {
    store.byId(id).filter(c -> c.state().live()).ifPresent(this::endOrphans);
    Container ended = store.update(id, c -> c.state().live() ? c.exited(exit(c)) : null);
    if (ended == null || !ended.state().live()) {
      CompletableFuture<Void> waiter = waiters.remove(id);
      if (waiter != null) {
        waiter.complete(null);
      }
    }
  }

  /**
   * The kernel ends what is left in a PID namespace with its first process. One that isn't the
   * container's own goes on, and so would the container's other processes.
   */
  private void endOrphans(Container container) {
    if (container.config().security().namespaces().pid() != NamespaceMode.CONTAINER) {
      teardown.killAll(container.cgroup());
    }
  }

  /** For a container whose process is known to be gone. */
  void lost(ContainerId id, String message) {
    long now = nanos(Instant.now());
    store.update(
        id,
        c -> c.state().live() ? c.exited(new Container.Exit(LOST, "Unknown", message, now)) : null);
    settle(id);
  }

  private Container.Exit exit(Container container) {
    Path file = layout.exitFile(container.id());
    try {
      int code = Integer.parseInt(Files.readString(file).strip());
      long at = nanos(Files.getLastModifiedTime(file).toInstant());
      if (oomKills.struck(container)) {
        return new Container.Exit(code, "OOMKilled", "", at);
      }
      return new Container.Exit(code, code == 0 ? "Completed" : "Error", "", at);
    } catch (IOException | NumberFormatException e) {
      return new Container.Exit(
          LOST,
          "Unknown",
          "its conmon ended without saying how the container did",
          nanos(Instant.now()));
    }
  }

  static long nanos(Instant instant) {
    return instant.getEpochSecond() * 1_000_000_000L + instant.getNano();
  }
}
