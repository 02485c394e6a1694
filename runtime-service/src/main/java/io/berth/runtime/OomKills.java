package io.berth.runtime;

import io.berth.linux.Cgroups;
import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Whether the kernel's OOM killer struck in a container, be it only a child of its first process.
 * The kernel counts before it sends the signal, so the counter is complete once the container has
 * ended; to be read while the cgroup is there.
 */
final class OomKills {
  private static final String COUNTER = "oom_kill ";

  private final ContainerLayout layout;
  private final Cgroups cgroups;
  private final VanishedKills vanished = new VanishedKills();

  OomKills(ContainerLayout layout, Cgroups cgroups) {
    this.layout = layout;
    this.cgroups = cgroups;
  }

  /** To be called while the container lives. */
  void watch(Container container) {
    if (cgroups.unified()) {
      vanished.begins(cgroups.folder("memory", container.cgroup()));
    }
  }

  /** To be called when it doesn't live any more, whether {@link #struck} was asked or not. */
  void forget(Container container) {
    if (cgroups.unified()) {
      vanished.forget(cgroups.folder("memory", container.cgroup()));
    }
  }

  /**
   * To be called once it has ended. When the cgroup is gone already, as systemd removes it early,
   * by what the pod's cgroup has counted, or by conmon's mark.
   */
  boolean struck(Container container) {
    Path folder = cgroups.folder("memory", container.cgroup());
    try {
      if (!cgroups.unified()) {
        return countedBeneath(folder);
      }
      long kills = VanishedKills.kills(folder); // and all beneath it
      vanished.ended(folder, kills);
      return kills > 0;
    } catch (IOException e) {
      return vanished.struck(folder) || Files.exists(layout.oomMark(container.id()));
    }
  }

  /** On v1 each cgroup counts for itself, and a container may have made some of its own. */
  private static boolean countedBeneath(Path folder) throws IOException {
    if (counted(folder.resolve("memory.oom_control"))) {
      return true;
    }
    try (DirectoryStream<Path> children = Files.newDirectoryStream(folder, Files::isDirectory)) {
      for (Path child : children) {
        if (countedBeneath(child)) {
          return true;
        }
      }
    } catch (DirectoryIteratorException e) {
      throw e.getCause();
    }
    return false;
  }

  private static boolean counted(Path counters) throws IOException {
    for (String line : Files.readAllLines(counters)) {
      if (line.startsWith(COUNTER)) {
        return !line.substring(COUNTER.length()).strip().equals("0");
      }
    }
    return false;
  }
}
