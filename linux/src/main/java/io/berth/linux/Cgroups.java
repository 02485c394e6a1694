package io.berth.linux;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
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
    } catch (IOException | DirectoryIteratorException e) {
      throw failed("look at cgroup hierarchies in " + root, e);
    }
    if (hierarchies.isEmpty()) {
      throw new IllegalStateException(
          "look at cgroup hierarchies in "
              + root
              + ": none is mounted there; mount cgroup2 on it, as systemd does");
    }
    hierarchies.sort(null);
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

  /**
   * Whether the cgroups of a controller have a file, which may be missing from the root's. Looked
   * for in those that are there; true where there are none to look at.
   */
  public boolean offers(String controller, String file) {
    try (DirectoryStream<Path> cgroups =
        Files.newDirectoryStream(folder(controller, ""), Files::isDirectory)) {
      boolean any = false;
      for (Path cgroup : cgroups) {
        any = true;
        if (Files.exists(cgroup.resolve(file))) {
          return true;
        }
      }
      return !any;
    } catch (IOException | DirectoryIteratorException e) {
      throw failed("look for " + file + " of controller " + controller, e);
    }
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
      pids.addAll(listed(folder.resolve("cgroup.procs")));
      try (DirectoryStream<Path> children = Files.newDirectoryStream(folder, Files::isDirectory)) {
        for (Path child : children) {
          collect(child, pids);
        }
      }
    } catch (NoSuchFileException | NotDirectoryException | DirectoryIteratorException e) {
      // gone, perhaps just now
    } catch (IOException e) {
      throw failed("look for the processes in cgroup " + folder, e);
    }
  }

  private static List<Integer> listed(Path file) {
    try (Fd fd = Fd.openRead(file)) {
      ByteArrayOutputStream text = new ByteArrayOutputStream();
      byte[] buffer = new byte[4096];
      for (int n = fd.read(buffer); n > 0; n = fd.read(buffer)) {
        text.write(buffer, 0, n);
      }
      return text.toString(StandardCharsets.US_ASCII).lines().map(Integer::valueOf).toList();
    } catch (ErrnoException e) {
      return switch (e.errno()) {
        case Errno.ENOENT, Errno.ENOTDIR, Errno.ENODEV -> List.of(); // gone, or about to go
        case Errno.EOPNOTSUPP -> List.of(); // a threaded cgroup: its processes are its parent's
        // For want of descriptors, say: "no processes" would be taken for "all dead".
        default -> throw e;
      };
    }
  }

  /**
   * Lets processes run again that somebody has frozen: they take no signal meanwhile, on v1 not
   * even SIGKILL. One that is gone, or where nothing can be frozen, is fine.
   */
  public void thaw(String cgroup) {
    Path file = folder("freezer", cgroup).resolve(unified ? "cgroup.freeze" : "freezer.state");
    String thawed = unified ? "0" : "THAWED";
    try {
      if (!Files.readString(file).strip().equals(thawed)) {
        Files.writeString(file, thawed, StandardOpenOption.WRITE);
      }
    } catch (IOException e) {
      // gone, perhaps just now; who still doesn't take signals will be missed by the caller
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
    } catch (NoSuchFileException | NotDirectoryException e) {
      // nothing to remove
    } catch (IOException | DirectoryIteratorException e) {
      if (Files.exists(folder)) { // and not just removed by the OCI runtime
        throw failed("remove cgroup " + folder, e);
      }
    }
  }

  private static UncheckedIOException failed(String operation, Exception e) {
    IOException cause =
        e instanceof DirectoryIteratorException listing
            ? Objects.requireNonNull(listing.getCause())
            : (IOException) e;
    return new UncheckedIOException(operation + ": " + cause.getMessage(), cause);
  }

  private static String relative(String cgroup) {
    return cgroup.startsWith("/") ? cgroup.substring(1) : cgroup;
  }
}
