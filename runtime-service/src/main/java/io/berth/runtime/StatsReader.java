package io.berth.runtime;

import io.berth.linux.Cgroups;
import io.berth.snapshot.Snapshotter;
import io.berth.snapshot.Usage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * What the kernel says a container uses, cgroup v1 and v2. Unknown values are absent, never zero.
 */
public final class StatsReader {
  private final Cgroups cgroups;
  private final Snapshotter snapshotter;

  StatsReader(Cgroups cgroups, Snapshotter snapshotter) {
    this.cgroups = cgroups;
    this.snapshotter = snapshotter;
  }

  /**
   * One sample.
   *
   * @param at nanoseconds since 1970
   * @param cpuNanos processor time since the container began
   * @param memory bytes, page cache included; the others are bytes too
   * @param faults page faults since the container began
   */
  record Sample(
      long at,
      OptionalLong cpuNanos,
      OptionalLong memory,
      OptionalLong workingSet,
      OptionalLong rss,
      OptionalLong available,
      OptionalLong faults,
      OptionalLong majorFaults,
      OptionalLong swap,
      Optional<Usage> writableLayer) {}

  Sample read(Container container) {
    long at = ExitWatch.nanos(Instant.now());
    Optional<Usage> layer = Optional.of(snapshotter.usage(container.id().value()));
    return cgroups.unified() ? unified(container, at, layer) : legacy(container, at, layer);
  }

  private Sample unified(Container container, long at, Optional<Usage> layer) {
    Path folder = cgroups.folder("memory", container.cgroup());
    Map<String, Long> stat = table(folder.resolve("memory.stat"));
    OptionalLong usage = number(folder.resolve("memory.current"));
    OptionalLong workingSet = workingSet(usage, stat.get("inactive_file"));
    OptionalLong cpu = of(table(folder.resolve("cpu.stat")).get("usage_usec"));
    return new Sample(
        at,
        cpu.isPresent() ? OptionalLong.of(cpu.getAsLong() * 1000) : cpu,
        usage,
        workingSet,
        of(stat.get("anon")),
        available(number(folder.resolve("memory.max")), workingSet),
        of(stat.get("pgfault")),
        of(stat.get("pgmajfault")),
        number(folder.resolve("memory.swap.current")),
        layer);
  }

  private Sample legacy(Container container, long at, Optional<Usage> layer) {
    Path folder = cgroups.folder("memory", container.cgroup());
    Map<String, Long> stat = table(folder.resolve("memory.stat"));
    OptionalLong usage = number(folder.resolve("memory.usage_in_bytes"));
    OptionalLong workingSet = workingSet(usage, stat.get("total_inactive_file"));
    OptionalLong both = number(folder.resolve("memory.memsw.usage_in_bytes"));
    return new Sample(
        at,
        number(cgroups.folder("cpuacct", container.cgroup()).resolve("cpuacct.usage")),
        usage,
        workingSet,
        of(stat.get("total_rss")),
        available(number(folder.resolve("memory.limit_in_bytes")), workingSet),
        of(stat.get("total_pgfault")),
        of(stat.get("total_pgmajfault")),
        both.isPresent() && usage.isPresent()
            ? OptionalLong.of(Math.max(0, both.getAsLong() - usage.getAsLong()))
            : OptionalLong.empty(),
        layer);
  }

  private static OptionalLong workingSet(
      OptionalLong usage, @org.jspecify.annotations.Nullable Long inactiveFile) {
    return usage.isEmpty() || inactiveFile == null
        ? OptionalLong.empty()
        : OptionalLong.of(Math.max(0, usage.getAsLong() - inactiveFile));
  }

  /** Without a limit nothing can be said; v1 spells that as a number near 2^63. */
  private static OptionalLong available(OptionalLong limit, OptionalLong workingSet) {
    return limit.isEmpty() || workingSet.isEmpty() || limit.getAsLong() > 1L << 62
        ? OptionalLong.empty()
        : OptionalLong.of(Math.max(0, limit.getAsLong() - workingSet.getAsLong()));
  }

  private static OptionalLong of(@org.jspecify.annotations.Nullable Long value) {
    return value == null ? OptionalLong.empty() : OptionalLong.of(value);
  }

  private static OptionalLong number(Path file) {
    try {
      return OptionalLong.of(Long.parseLong(Files.readString(file).strip()));
    } catch (IOException | NumberFormatException e) {
      return OptionalLong.empty(); // the cgroup is gone, or says "max"
    }
  }

  private static Map<String, Long> table(Path file) {
    Map<String, Long> values = new HashMap<>();
    try {
      for (String line : Files.readAllLines(file)) {
        String[] field = line.split(" ");
        if (field.length == 2 && field[1].matches("\\d{1,18}")) {
          values.put(field[0], Long.parseLong(field[1]));
        }
      }
    } catch (IOException e) {
      return Map.of(); // the cgroup is gone
    }
    return values;
  }
}
