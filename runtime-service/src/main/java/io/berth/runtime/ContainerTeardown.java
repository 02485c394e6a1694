package io.berth.runtime;

import io.berth.linux.Cgroups;
import io.berth.linux.ProcessRef;
import io.berth.snapshot.Snapshotter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.Set;
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

  private final ContainerLayout layout;
  private final RuntimeHandlers handlers;
  private final Conmon conmon;
  private final Snapshotter snapshotter;
  private final Cgroups cgroups;

  ContainerTeardown(
      ContainerLayout layout,
      RuntimeHandlers handlers,
      Conmon conmon,
      Snapshotter snapshotter,
      Cgroups cgroups) {
    this.layout = layout;
    this.handlers = handlers;
    this.conmon = conmon;
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
   */
  void takeDownHalfMade(ContainerId id, String handler, String cgroup) throws InterruptedException {
    for (ProcessRef maker : makers(id, handler)) {
      maker.signal(SIGKILL);
    }
    killAll(cgroup);
    takeDown(id, handler, cgroup);
  }

  /** Kills every process in the cgroup. */
  void killAll(String cgroup) {
    for (int pid : cgroups.processes(cgroup)) {
      ProcessRef.of(pid).ifPresent(process -> process.signal(SIGKILL));
    }
  }

  private void finish(ContainerId id, String cgroup) {
    cgroups.remove(cgroup); // runc leaves v1 cgroups that it did not see through
    snapshotter.unmount(layout.rootfs(id));
    snapshotter.remove(id.value());
    deleteTree(layout.bundle(id));
    delete(layout.exitFile(id));
  }

  /**
   * conmon and the runtime's create carry the id in their arguments; while a creation is under way
   * nothing else tells where they are. Their program is compared too, as a person's command may
   * well name the id. A walk over /proc, so only for half-made containers.
   */
  private List<ProcessRef> makers(ContainerId id, String handler) {
    Set<String> programs =
        Set.of(handlers.get(handler).binary().toString(), conmon.binary().toString());
    try (DirectoryStream<Path> processes = Files.newDirectoryStream(Path.of("/proc"), "[0-9]*")) {
      return StreamSupport.stream(processes.spliterator(), false)
          .filter(process -> {
            List<String> arguments = arguments(process);
            return programs.contains(arguments.getFirst()) && arguments.contains(id.value());
          })
          .map(process -> ProcessRef.of(Integer.parseInt(process.getFileName().toString())))
          .flatMap(Optional::stream)
          .sorted(
              Comparator.comparingLong(
                  ProcessRef::startTicks)) // conmon first, or it would report a failure
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException("look through the processes: " + e.getMessage(), e);
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

  private static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw new UncheckedIOException("delete " + file + ": " + e.getMessage(), e);
    }
  }
}
