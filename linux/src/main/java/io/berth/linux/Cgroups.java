package io.berth.linux;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/**
 * The machine's cgroup hierarchies, cgroups(7): one on v2, one a controller on v1; the hybrid
 * layout is v1 with an empty v2 tree beside. A cgroup is named by its path from the root of a
 * hierarchy, as in {@code /kubepods/podX}.
 */
public final class Cgroups {
  private final boolean unified;
  private final List<Path> hierarchies;

  private Cgroups(boolean unified, List<Path> hierarchies) {
    this.unified = unified;
    this.hierarchies = List.copyOf(hierarchies);
  }

  /**
   * Looks at what is mounted.
   *
   * @param root usually /sys/fs/cgroup
   */
  public static Cgroups detect(Path root) {
    if (Files.exists(root.resolve("cgroup.controllers"))) {
      return new Cgroups(true, List.of(root));
    }
    List<Path> hierarchies = new ArrayList<>();
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(root)) {
      for (Path entry : entries) {
        // "cpu" may be a link to "cpu,cpuacct": each hierarchy once.
        if (Files.isDirectory(entry)
            && !Files.isSymbolicLink(entry)
            && Files.exists(entry.resolve("cgroup.procs"))) {
          hierarchies.add(entry);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(
          "look at cgroup hierarchies in " + root + ": " + e.getMessage(), e);
    }
    return new Cgroups(false, hierarchies);
  }

  /** True on v2. */
  public boolean unified() {
    return unified;
  }

  /** The folder of a cgroup for a controller, existing or not; on v2 it is the same for all. */
  public Path folder(String controller, String cgroup) {
    Path base = hierarchies.getFirst();
    if (!unified) {
      for (Path hierarchy : hierarchies) {
        if (List.of(hierarchy.getFileName().toString().split(",")).contains(controller)) {
          base = hierarchy;
        }
      }
    }
    return base.resolve(relative(cgroup));
  }

  /** The processes in a cgroup and all beneath it, in any hierarchy. */
  public Set<Integer> processes(String cgroup) {
    Set<Integer> pids = new TreeSet<>();
    for (Path hierarchy : hierarchies) {
      collect(hierarchy.resolve(relative(cgroup)), pids);
    }
    return pids;
  }

  private static void collect(Path folder, Set<Integer> pids) {
    try {
      for (String line : Files.readAllLines(folder.resolve("cgroup.procs"))) {
        pids.add(Integer.parseInt(line));
      }
      try (DirectoryStream<Path> children = Files.newDirectoryStream(folder, Files::isDirectory)) {
        for (Path child : children) {
          collect(child, pids);
        }
      }
    } catch (IOException e) {
      // gone meanwhile, or a threaded cgroup, which can't be read: no processes that we could name
    }
  }

  /**
   * Removes a cgroup and all beneath it, in every hierarchy; one that doesn't exist is fine.
   *
   * @throws UncheckedIOException when it still holds processes
   */
  public void remove(String cgroup) {
    if (relative(cgroup).isEmpty()) {
      throw new IllegalArgumentException("the root cgroup is not ours to remove");
    }
    for (Path hierarchy : hierarchies) {
      removeTree(hierarchy.resolve(relative(cgroup)));
    }
  }

  private static void removeTree(Path folder) {
    try (DirectoryStream<Path> children = Files.newDirectoryStream(folder, Files::isDirectory)) {
      for (Path child : children) {
        removeTree(child);
      }
      Files.delete(folder);
    } catch (NoSuchFileException | java.nio.file.NotDirectoryException e) {
      // nothing to remove
    } catch (IOException e) {
      throw new UncheckedIOException("remove cgroup " + folder + ": " + e.getMessage(), e);
    }
  }

  private static String relative(String cgroup) {
    return cgroup.startsWith("/") ? cgroup.substring(1) : cgroup;
  }
}
