package io.berth.stats;

import io.berth.linux.Cgroups;
import io.berth.linux.KernelFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/** The counters of one cgroup, as the version in use spells them. */
abstract sealed class CgroupReader permits CgroupReaderV1, CgroupReaderV2 {
  /** Above it is what v1 writes for "no limit", 2^63 rounded down to a page. */
  private static final long MOST_LIMIT = 1L << 62;

  private static final byte[] CPU_PRESSURE = KernelFile.name("cpu.pressure");
  private static final byte[] MEMORY_PRESSURE = KernelFile.name("memory.pressure");
  private static final byte[] IO_PRESSURE = KernelFile.name("io.pressure");
  private static final byte[] SOME = KernelFile.name("some");
  private static final byte[] FULL = KernelFile.name("full");

  /** Absent where the kernel keeps no pressure of cgroups, or nothing is in its hierarchy. */
  private final byte @Nullable [] pressure;

  CgroupReader(Cgroups cgroups) {
    // On v1 it is told where the unified hierarchy, without controllers, stands beside.
    Path unified = cgroups.folder("unified", "");
    pressure = Files.exists(unified.resolve("cpu.pressure")) ? base(unified) : null;
  }

  static CgroupReader of(Cgroups cgroups) {
    return cgroups.unified() ? new CgroupReaderV2(cgroups) : new CgroupReaderV1(cgroups);
  }

  /** What need not be read at every look. Of a cgroup that has gone nothing is known. */
  abstract Standing standing(KernelFile file, OpenCgroup cgroup);

  /** Empty when the cgroup has gone. The rate isn't known here. */
  abstract Optional<CgroupUsage> usage(KernelFile file, OpenCgroup cgroup, Standing standing);

  /** Whether this machine keeps the count of which this metric is made. */
  abstract boolean tells(Metric metric);

  /**
   * The metrics of a container that are made of its cgroup alone.
   *
   * @return false, and nothing told, when the cgroup has gone
   */
  abstract boolean metrics(KernelFile file, OpenCgroup cgroup, Standing standing, MetricSink sink);

  /** Folder of the processes' list. */
  abstract byte[] processFolder(byte[] cgroup);

  static byte[] base(Path hierarchy) {
    return KernelFile.name(hierarchy.toString());
  }

  /** The folder of a cgroup, whose path begins with a slash. */
  static byte[] folder(byte[] hierarchy, byte[] cgroup) {
    byte[] folder = new byte[hierarchy.length + cgroup.length];
    System.arraycopy(hierarchy, 0, folder, 0, hierarchy.length);
    System.arraycopy(cgroup, 0, folder, hierarchy.length, cgroup.length);
    return folder;
  }

  final @Nullable Pressure cpuPressure(KernelFile file, OpenCgroup cgroup) {
    return pressure(file, cgroup, CPU_PRESSURE);
  }

  final @Nullable Pressure memoryPressure(KernelFile file, OpenCgroup cgroup) {
    return pressure(file, cgroup, MEMORY_PRESSURE);
  }

  final @Nullable Pressure ioPressure(KernelFile file, OpenCgroup cgroup) {
    return pressure(file, cgroup, IO_PRESSURE);
  }

  /** Whether {@link #cpuPressure} and the others can be known on this machine. */
  final boolean tellsPressure() {
    return pressure != null;
  }

  private @Nullable Pressure pressure(KernelFile file, OpenCgroup cgroup, byte[] name) {
    if (pressure == null || !file.read(cgroup.in(pressure), name)) {
      return null;
    }
    Pressure.Share some = null;
    Pressure.Share full = null;
    while (file.nextLine()) {
      if (file.nextWord()) {
        if (file.isWord(SOME)) {
          some = share(file);
        } else if (file.isWord(FULL)) {
          full = share(file);
        }
      }
    }
    return some == null ? null : new Pressure(some, full);
  }

  /** {@code avg10=0.00 avg60=0.00 avg300=0.00 total=0}, the total in microseconds. */
  private static Pressure.@Nullable Share share(KernelFile file) {
    double[] averages = new double[3];
    for (int i = 0; i < 3; i++) {
      if (!file.nextWord(2)) {
        return null;
      }
      averages[i] = file.decimal();
    }
    if (!file.nextWord(2) || file.number() == KernelFile.ABSENT) {
      return null;
    }
    return new Pressure.Share(file.number() * 1000, averages[0], averages[1], averages[2]);
  }

  final void pressureMetrics(KernelFile file, OpenCgroup cgroup, MetricSink sink) {
    pressureMetrics(
        cpuPressure(file, cgroup), Metric.PRESSURE_CPU_WAITING, Metric.PRESSURE_CPU_STALLED, sink);
    pressureMetrics(
        memoryPressure(file, cgroup),
        Metric.PRESSURE_MEMORY_WAITING,
        Metric.PRESSURE_MEMORY_STALLED,
        sink);
    pressureMetrics(
        ioPressure(file, cgroup), Metric.PRESSURE_IO_WAITING, Metric.PRESSURE_IO_STALLED, sink);
  }

  private static void pressureMetrics(
      @Nullable Pressure pressure, Metric waiting, Metric stalled, MetricSink sink) {
    if (pressure != null) {
      sink.seconds(waiting, pressure.some().totalNanos());
      Pressure.Share full = pressure.full();
      if (full != null) {
        sink.seconds(stalled, full.totalNanos());
      }
    }
  }

  static OptionalLong optional(long value) {
    return value == KernelFile.ABSENT ? OptionalLong.empty() : OptionalLong.of(value);
  }

  static long workingSet(long memory, long inactiveFile) {
    return memory == KernelFile.ABSENT || inactiveFile == KernelFile.ABSENT
        ? KernelFile.ABSENT
        : Math.max(0, memory - inactiveFile);
  }

  static long times(long value, long factor) {
    return value == KernelFile.ABSENT ? value : value * factor;
  }

  /** Without a limit nothing can be said. */
  static long upTo(long limit, long used) {
    return limit == KernelFile.ABSENT || limit > MOST_LIMIT || used == KernelFile.ABSENT
        ? KernelFile.ABSENT
        : Math.max(0, limit - used);
  }

  static boolean unlimited(long limit) {
    return limit > MOST_LIMIT;
  }
}
