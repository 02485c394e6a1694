package io.berth.runtime;

import io.berth.linux.Cgroups;
import io.berth.sandbox.LinuxResources;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;

/**
 * The files of a container's cgroup that an update changes, cgroup v1 and v2; those that a machine
 * lacks are passed over.
 */
final class CgroupLimits {
  private static final List<String> LEGACY =
      List.of(
          "cpu.shares",
          "cpu.cfs_period_us",
          "cpu.cfs_quota_us",
          "cpuset.cpus",
          "cpuset.mems",
          "memory.limit_in_bytes",
          "memory.memsw.limit_in_bytes");
  private static final List<String> UNIFIED =
      List.of(
          "cpu.weight",
          "cpu.max",
          "cpuset.cpus",
          "cpuset.mems",
          "memory.high",
          "memory.max",
          "memory.swap.max");

  private final Cgroups cgroups;

  CgroupLimits(Cgroups cgroups) {
    this.cgroups = cgroups;
  }

  /**
   * What the files say now.
   *
   * @return contents by the files' names
   */
  Map<String, String> read(String cgroup, LinuxResources wanted) {
    Set<String> files = new LinkedHashSet<>(cgroups.unified() ? UNIFIED : LEGACY);
    files.addAll(wanted.unified().keySet());
    wanted.hugepageLimits().keySet().forEach(size -> files.addAll(hugepageFiles(size)));
    Map<String, String> contents = new LinkedHashMap<>();
    for (String file : files) {
      Path path = path(cgroup, file);
      try {
        contents.put(file, Files.readString(path).strip());
      } catch (NoSuchFileException e) {
        // this machine, or this cgroup, doesn't have it
      } catch (IOException e) {
        throw new UncheckedIOException("read " + path + ": " + e.getMessage(), e);
      }
    }
    return contents;
  }

  /** Sets what not every OCI runtime's update sets: huge pages and single v2 files. */
  void write(String cgroup, LinuxResources wanted) {
    wanted
        .hugepageLimits()
        .forEach((size, bytes) -> {
          for (String file : hugepageFiles(size)) {
            if (Files.exists(path(cgroup, file))) {
              write(path(cgroup, file), Long.toString(bytes));
            }
          }
        });
    wanted.unified().forEach((file, content) -> write(path(cgroup, file), content));
  }

  /**
   * Puts back what {@link #read} gave. In two rounds: limits of memory and of memory with swap
   * can't be set in an order that leaves one above the other.
   */
  void restore(String cgroup, Map<String, String> contents) {
    Map<String, String> left = contents;
    for (int round = 0; ; round++) {
      Map<String, String> refused = new LinkedHashMap<>();
      UncheckedIOException failure = null;
      for (Map.Entry<String, String> file : left.entrySet()) {
        try {
          write(path(cgroup, file.getKey()), file.getValue());
        } catch (UncheckedIOException e) {
          if (Files.exists(path(cgroup, file.getKey()))) { // and not gone with its container
            refused.put(file.getKey(), file.getValue());
            failure = e;
          }
        }
      }
      if (failure == null) {
        return;
      }
      if (round > 0) {
        throw failure;
      }
      left = refused;
    }
  }

  /** Bytes of memory that the kernel can't take back by dropping caches; absent when unknown. */
  OptionalLong memoryHeld(String cgroup) {
    boolean v2 = cgroups.unified();
    List<String> reclaimable =
        v2
            ? List.of("active_file", "inactive_file", "slab_reclaimable")
            : List.of("total_active_file", "total_inactive_file");
    Path folder = cgroups.folder("memory", cgroup);
    try {
      long held =
          Long.parseLong(
              Files.readString(folder.resolve(v2 ? "memory.current" : "memory.usage_in_bytes"))
                  .strip());
      for (String line : Files.readAllLines(folder.resolve("memory.stat"))) {
        int space = line.indexOf(' ');
        if (space > 0 && reclaimable.contains(line.substring(0, space))) {
          held -= Long.parseLong(line.substring(space + 1).strip());
        }
      }
      return OptionalLong.of(Math.max(0, held));
    } catch (IOException | NumberFormatException e) {
      return OptionalLong.empty(); // the cgroup is gone; the runtime's update will say so
    }
  }

  /**
   * For every process of the container, as children keep what they were born with.
   *
   * @param score 0 leaves them as they are
   * @param lowest the kernel lets this daemon go no further down
   */
  void adjustOomScores(String cgroup, long score, int lowest) {
    if (score == 0) {
      return;
    }
    for (int pid : cgroups.processes(cgroup)) {
      Path file = Path.of("/proc", Integer.toString(pid), "oom_score_adj");
      try {
        write(file, Long.toString(Math.max(score, lowest)));
      } catch (UncheckedIOException e) {
        if (Files.exists(file)) { // and not a process that has just ended
          throw e;
        }
      }
    }
  }

  private List<String> hugepageFiles(String size) {
    return cgroups.unified()
        ? List.of("hugetlb." + size + ".max", "hugetlb." + size + ".rsvd.max")
        : List.of(
            "hugetlb." + size + ".limit_in_bytes", "hugetlb." + size + ".rsvd.limit_in_bytes");
  }

  /** A file's name begins with its controller. */
  private Path path(String cgroup, String file) {
    return cgroups.folder(file.substring(0, file.indexOf('.')), cgroup).resolve(file);
  }

  private static void write(Path file, String content) {
    try {
      // An empty content has to be written too, as it means "as the parent".
      Files.writeString(file, content + "\n", StandardOpenOption.WRITE);
    } catch (IOException e) {
      throw new UncheckedIOException(
          "write \"" + content + "\" to " + file + ": " + e.getMessage(), e);
    }
  }
}
