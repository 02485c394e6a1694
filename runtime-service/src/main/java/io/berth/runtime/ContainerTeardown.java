package io.berth.runtime;

import io.berth.linux.Cgroups;
import io.berth.linux.Mounts;
import io.berth.linux.ProcessRef;
import io.berth.linux.Stages;
import io.berth.runtime.ContainerException.Reason;
import io.berth.snapshot.Snapshotter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * Takes apart what a container consists of, whatever stage it had reached: processes, the runtime's
 * state, cgroup, mount, snapshot, files. Everything may be gone already, so it can be repeated, and
 * is: by the undo of a failed creation, by removal, by recovery and by the debts.
 */
final class ContainerTeardown {
  static final String DEBT = "container";
  private static final int SIGKILL = 9;

  /** How long a killed process may take to end before it counts as hanging. */
  private static final Duration PATIENCE = Duration.ofSeconds(5);

  private static final Duration POLL = Duration.ofMillis(5);

  private final ContainerLayout layout;
  private final RuntimeHandlers handlers;
  private final Snapshotter snapshotter;
  private final Cgroups cgroups;

  ContainerTeardown(
      ContainerLayout layout, RuntimeHandlers handlers, Snapshotter snapshotter, Cgroups cgroups) {
    this.layout = layout;
    this.handlers = handlers;
    this.snapshotter = snapshotter;
    this.cgroups = cgroups;
  }

  /**
   * Takes down a container that has been created whole and has no process any more, or is to lose
   * them.
   *
   * @param cgroup from the root of a hierarchy
   */
  void takeDown(ContainerId id, String handler, String cgroup) throws InterruptedException {
    handlers.get(handler).delete(id);
    finish(id, cgroup);
  }

  /**
   * As {@link #takeDown}, for one whose creation may still be going on in processes that a dead
   * daemon has left.
   *
   * @throws ContainerException RUNTIME_FAILED when processes resist; to be tried again
   */
  void takeDownHalfMade(ContainerId id, String handler, String cgroup) throws InterruptedException {
    OciRuntime runtime = handlers.get(handler);
    end("take down container " + id, () -> makers(id, runtime));
    end("take down container " + id, () -> processes(cgroup));
    takeDown(id, handler, cgroup);
  }

  /**
   * Ends the runtime's {@code start} of a container that a dead daemon has left. What it has done
   * by then stays done.
   */
  void endStart(ContainerId id, String handler) throws InterruptedException {
    OciRuntime runtime = handlers.get(handler);
    end("start container " + id, () -> runtimeCalls(id, runtime, "start"));
  }

  /** As {@link #endStart}, for the runtime's {@code update}. */
  void endUpdate(ContainerId id, String handler) throws InterruptedException {
    OciRuntime runtime = handlers.get(handler);
    end("update container " + id, () -> runtimeCalls(id, runtime, "update"));
  }

  /** Lets a container that somebody has frozen hear signals again. */
  void thaw(Container container) {
    cgroups.thaw(container.cgroup());
  }

  /** Kills every process in the cgroup, frozen or not. */
  void killAll(String cgroup) {
    cgroups.thaw(cgroup);
    processes(cgroup).forEach(process -> process.signal(SIGKILL));
  }

  private List<ProcessRef> processes(String cgroup) {
    return cgroups.processes(cgroup).stream()
        .map(ProcessRef::of)
        .flatMap(Optional::stream)
        .toList();
  }

  /**
   * Kills until none is left, as they may fork meanwhile and take a moment to die; so what comes
   * next finds nobody at work.
   */
  private static void end(String operation, Supplier<List<ProcessRef>> processes)
      throws InterruptedException {
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    for (List<ProcessRef> left = processes.get(); !left.isEmpty(); left = processes.get()) {
      if (System.nanoTime() > deadline) {
        throw new ContainerException(
            Reason.RUNTIME_FAILED,
            operation
                + ": processes "
                + left.stream().map(ProcessRef::pid).toList()
                + " were killed "
                + PATIENCE.toSeconds()
                + " s ago and haven't ended; they may hang in the kernel, see /proc/PID/stack; try"
                + " again");
      }
      left.forEach(process -> process.signal(SIGKILL));
      Thread.sleep(POLL);
    }
  }

  private void finish(ContainerId id, String cgroup) throws InterruptedException {
    Stages.run("conmon", () -> awaitMonitor(id));
    // runc leaves v1 cgroups that it did not see through
    Stages.run("cgroup", () -> removeCgroup(cgroup));
    Stages.run(
        "snapshot",
        () -> {
          unmountSources(id);
          snapshotter.unmount(layout.rootfs(id));
          snapshotter.remove(id.value());
        });
    deleteBundle(id);
    deleteExit(id);
  }

  private void unmountSources(ContainerId id) {
    if (!Files.exists(layout.mounts(id))) {
      return;
    }
    try (DirectoryStream<Path> mounts = Files.newDirectoryStream(layout.mounts(id))) {
      mounts.forEach(Mounts::detach);
    } catch (IOException e) {
      throw new UncheckedIOException("unmount " + layout.mounts(id) + ": " + e.getMessage(), e);
    }
  }

  /** Conmon writes `ID.XXXXXX` and renames it; killed in between, it leaves that behind instead. */
  private void deleteExit(ContainerId id) {
    if (delete(layout.exitFile(id))) {
      return;
    }
    try (DirectoryStream<Path> drafts =
        Files.newDirectoryStream(layout.exits(), id.value() + ".*")) {
      drafts.forEach(ContainerTeardown::delete);
    } catch (IOException e) {
      throw new UncheckedIOException("list " + layout.exits() + ": " + e.getMessage(), e);
    }
  }

  /** Removes the bundle's folder, in which nothing is mounted any more. */
  void deleteBundle(ContainerId id) {
    deleteTree(layout.bundle(id));
  }

  /**
   * The last thing that conmon does is to write the exit file, which would be left behind if it
   * came after ours was deleted.
   */
  private void awaitMonitor(ContainerId id) throws InterruptedException {
    ProcessRef monitor =
        Conmon.readPid(layout.monitorPidFile(id))
            .filter(pid -> arguments(Path.of("/proc", pid.toString())).contains(id.value()))
            .flatMap(ProcessRef::of)
            .orElse(null);
    if (monitor == null) {
      return;
    }
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    while (monitor.isAlive() && System.nanoTime() < deadline) {
      Thread.sleep(POLL);
    }
    end("take down container " + id, () -> monitor.isAlive() ? List.of(monitor) : List.of());
  }

  /**
   * The kernel refuses while a killed process has not quite ended, and children that a container
   * leaves in a PID namespace not its own go on.
   */
  private void removeCgroup(String cgroup) throws InterruptedException {
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    while (true) {
      try {
        cgroups.remove(cgroup);
        return;
      } catch (UncheckedIOException e) {
        if (System.nanoTime() > deadline) {
          throw e;
        }
        killAll(cgroup);
        Thread.sleep(POLL);
      }
    }
  }

  /**
   * While a creation is under way nothing but arguments tells where conmon and the runtime's create
   * are: they carry the id, and the folder of the runtime's state, which a person's own command
   * that happens to name the id lacks. The program's name won't do, as a runtime may be a script
   * that calls another. A walk over /proc, so only for half-made containers.
   */
  private static List<ProcessRef> makers(ContainerId id, OciRuntime runtime) {
    String root = "--root=" + runtime.root(); // conmon has it behind --runtime-arg=
    return processesWith(arguments ->
        arguments.contains(id.value()) && arguments.stream().anyMatch(a -> a.endsWith(root)));
  }

  private static List<ProcessRef> runtimeCalls(
      ContainerId id, OciRuntime runtime, String subcommand) {
    String root = "--root=" + runtime.root();
    return processesWith(arguments -> {
      int at = arguments.indexOf(subcommand);
      return at > 0
          && arguments.subList(at, arguments.size()).contains(id.value())
          && arguments.contains(root);
    });
  }

  /** Oldest first: conmon before the runtime that it called, or it would report a failure. */
  private static List<ProcessRef> processesWith(Predicate<List<String>> wanted) {
    try (DirectoryStream<Path> processes = Files.newDirectoryStream(Path.of("/proc"), "[0-9]*")) {
      return StreamSupport.stream(processes.spliterator(), false)
          .filter(process -> wanted.test(arguments(process)))
          .map(process -> ProcessRef.of(Integer.parseInt(process.getFileName().toString())))
          .flatMap(Optional::stream)
          .sorted(Comparator.comparingLong(ProcessRef::startTicks))
          .toList();
    } catch (IOException | DirectoryIteratorException e) {
      throw new IllegalStateException("look through the processes: " + e.getMessage(), e);
    }
  }

  private static List<String> arguments(Path process) {
    try {
      return List.of(
          new String(Files.readAllBytes(process.resolve("cmdline")), StandardCharsets.ISO_8859_1)
              .split("\0", -1));
    } catch (IOException e) {
      return List.of(""); // ended meanwhile
    }
  }

  private static void deleteTree(Path folder) {
    if (!Files.exists(folder)) {
      return;
    }
    try (Stream<Path> tree = Files.walk(folder)) {
      tree.sorted(Comparator.reverseOrder()).forEach(ContainerTeardown::delete);
    } catch (IOException e) {
      throw new UncheckedIOException("delete " + folder + ": " + e.getMessage(), e);
    }
  }

  private static boolean delete(Path file) {
    try {
      return Files.deleteIfExists(file);
    } catch (IOException e) {
      throw new UncheckedIOException("delete " + file + ": " + e.getMessage(), e);
    }
  }
}
