package io.berth.stats;

import static io.berth.linux.KernelFile.ABSENT;

import io.berth.linux.Cgroups;
import io.berth.linux.KernelFile;
import io.berth.linux.KernelFolder;
import java.util.Optional;

/** Cgroup v2, Documentation/admin-guide/cgroup-v2.rst; times are in microseconds there. */
final class CgroupReaderV2 extends CgroupReader {
  private static final byte[] CPU_STAT = KernelFile.name("cpu.stat");
  private static final byte[] CPU_MAX = KernelFile.name("cpu.max");
  private static final byte[] CPU_WEIGHT = KernelFile.name("cpu.weight");
  private static final byte[] MEMORY_CURRENT = KernelFile.name("memory.current");
  private static final byte[] MEMORY_PEAK = KernelFile.name("memory.peak");
  private static final byte[] MEMORY_MAX = KernelFile.name("memory.max");
  private static final byte[] MEMORY_LOW = KernelFile.name("memory.low");
  private static final byte[] MEMORY_STAT = KernelFile.name("memory.stat");
  private static final byte[] MEMORY_EVENTS = KernelFile.name("memory.events");
  private static final byte[] SWAP_CURRENT = KernelFile.name("memory.swap.current");
  private static final byte[] SWAP_MAX = KernelFile.name("memory.swap.max");
  private static final byte[] PIDS_CURRENT = KernelFile.name("pids.current");
  private static final byte[] PIDS_MAX = KernelFile.name("pids.max");
  private static final byte[] IO_STAT = KernelFile.name("io.stat");

  private static final KernelFile.Keys CPU_USAGE_KEYS = new KernelFile.Keys("usage_usec");
  private static final KernelFile.Keys CPU_KEYS =
      new KernelFile.Keys(
          "usage_usec", "user_usec", "system_usec", "nr_periods", "nr_throttled", "throttled_usec");
  private static final KernelFile.Keys USAGE_KEYS =
      new KernelFile.Keys("inactive_file", "anon", "pgfault", "pgmajfault");
  private static final KernelFile.Keys METRIC_KEYS =
      new KernelFile.Keys(
          "inactive_file",
          "anon",
          "pgfault",
          "pgmajfault",
          "file",
          "file_mapped",
          "kernel",
          "kernel_stack",
          "pagetables",
          "percpu",
          "slab");
  private static final KernelFile.Keys EVENT_KEYS = new KernelFile.Keys("oom_kill", "max");

  private final byte[] root;
  private final boolean swap;
  private final boolean peak;
  private final HugePages hugePages;
  private final BlockDevices devices = new BlockDevices();

  CgroupReaderV2(Cgroups cgroups) {
    super(cgroups);
    root = base(cgroups.folder("memory", ""));
    swap = cgroups.offers("memory", "memory.swap.current");
    peak = cgroups.offers("memory", "memory.peak");
    hugePages = HugePages.of(cgroups.folder("hugetlb", ""), ".current", "");
  }

  @Override
  Standing standing(KernelFile file, OpenCgroup cgroup) {
    var recorder = new Standing.Recorder();
    KernelFolder folder = cgroup.in(root);
    boolean cpuLimited = false;
    if (file.read(folder, CPU_MAX) && file.nextLine() && file.nextWord()) {
      long quota = file.number(); // "max" without one
      cpuLimited = quota != ABSENT;
      recorder.value(Metric.SPEC_CPU_QUOTA, quota);
      if (file.nextWord()) {
        recorder.value(Metric.SPEC_CPU_PERIOD, file.number());
      }
    }
    long weight = file.readNumber(folder, CPU_WEIGHT);
    if (weight != ABSENT) {
      // The shares of v1, 2 to 262144, spread over the weights, 1 to 10000.
      recorder.value(Metric.SPEC_CPU_SHARES, 2 + (weight - 1) * 262142 / 9999);
    }
    recorder.limit(Metric.SPEC_MEMORY_LIMIT, file, folder, MEMORY_MAX);
    recorder.limit(Metric.SPEC_MEMORY_RESERVATION, file, folder, MEMORY_LOW);
    recorder.limit(Metric.SPEC_MEMORY_SWAP_LIMIT, file, folder, SWAP_MAX);
    recorder.limit(Metric.THREADS_MAX, file, folder, PIDS_MAX);
    boolean huge = hugePages.anyToUse();
    if (!huge) {
      hugePages.metrics(file, cgroup, recorder);
    }
    long memoryLimit = file.readNumber(folder, MEMORY_MAX);
    return new Standing(
        memoryLimit,
        file.readNumber(folder, SWAP_MAX),
        cpuLimited,
        memoryLimit != ABSENT,
        huge,
        recorder.samples());
  }

  @Override
  Optional<CgroupUsage> usage(KernelFile file, OpenCgroup cgroup, Standing standing) {
    KernelFolder folder = cgroup.in(root);
    long at = Clocks.wallNanos();
    long[] cpu = new long[CPU_USAGE_KEYS.size()];
    if (!file.readTable(folder, CPU_STAT, CPU_USAGE_KEYS, cpu)) {
      return Optional.empty();
    }
    long used = file.readNumber(folder, MEMORY_CURRENT);
    long[] stat = new long[USAGE_KEYS.size()];
    var _ = file.readTable(folder, MEMORY_STAT, USAGE_KEYS, stat);
    long workingSet = workingSet(used, stat[0]);
    long swapped = file.readNumber(folder, SWAP_CURRENT);
    return Optional.of(
        new CgroupUsage(
            at,
            optional(times(cpu[0], 1000)),
            optional(ABSENT),
            optional(used),
            optional(workingSet),
            optional(stat[1]),
            optional(upTo(standing.memoryLimit(), workingSet)),
            optional(stat[2]),
            optional(stat[3]),
            optional(swapped),
            optional(upTo(standing.swapLimit(), swapped)),
            optional(file.readNumber(folder, PIDS_CURRENT)),
            cpuPressure(file, cgroup),
            memoryPressure(file, cgroup),
            ioPressure(file, cgroup)));
  }

  @Override
  byte[] processFolder(byte[] cgroup) {
    return folder(root, cgroup);
  }

  @Override
  boolean tells(Metric metric) {
    return switch (metric) {
      case HUGETLB_USAGE -> hugePages.any();
      case HUGETLB_MAX_USAGE -> false; // v2 keeps no such count
      case MEMORY_SWAP, SPEC_MEMORY_SWAP_LIMIT -> swap;
      case MEMORY_MAX_USAGE -> peak; // kernel 5.19
      default -> !metric.isPressure() || tellsPressure();
    };
  }

  @Override
  boolean metrics(KernelFile file, OpenCgroup cgroup, Standing standing, MetricSink sink) {
    KernelFolder folder = cgroup.in(root);
    if (!cpu(file, folder, sink)) {
      return false;
    }
    standing.tell(sink);
    memory(file, folder, sink);
    sink.value(Metric.THREADS, file.readNumber(folder, PIDS_CURRENT));
    io(file, folder, sink);
    if (standing.hugePages()) {
      hugePages.metrics(file, cgroup, sink);
    }
    pressureMetrics(file, cgroup, sink);
    return true;
  }

  private static boolean cpu(KernelFile file, KernelFolder folder, MetricSink sink) {
    long[] stat = new long[CPU_KEYS.size()];
    if (!file.readTable(folder, CPU_STAT, CPU_KEYS, stat)) {
      return false;
    }
    sink.seconds(Metric.CPU_USAGE, times(stat[0], 1000), MetricSink.ALL_CPUS);
    sink.seconds(Metric.CPU_USER, times(stat[1], 1000));
    sink.seconds(Metric.CPU_SYSTEM, times(stat[2], 1000));
    sink.value(Metric.CFS_PERIODS, stat[3]);
    sink.value(Metric.CFS_THROTTLED_PERIODS, stat[4]);
    sink.seconds(Metric.CFS_THROTTLED, times(stat[5], 1000));
    return true;
  }

  private static void memory(KernelFile file, KernelFolder folder, MetricSink sink) {
    long used = file.readNumber(folder, MEMORY_CURRENT);
    sink.value(Metric.MEMORY_USAGE, used);
    long[] stat = new long[METRIC_KEYS.size()];
    if (file.readTable(folder, MEMORY_STAT, METRIC_KEYS, stat)) {
      sink.value(Metric.MEMORY_WORKING_SET, workingSet(used, stat[0]));
      sink.value(Metric.MEMORY_RSS, stat[1]);
      // v2 counts a cgroup with those beneath it, never alone.
      for (String scope : new String[] {"container", "hierarchy"}) {
        sink.value(Metric.MEMORY_FAILURES, stat[2], "pgfault", scope);
        sink.value(Metric.MEMORY_FAILURES, stat[3], "pgmajfault", scope);
      }
      sink.value(Metric.MEMORY_CACHE, stat[4]);
      sink.value(Metric.MEMORY_MAPPED_FILE, stat[5]);
      sink.value(Metric.MEMORY_KERNEL, stat[6] == ABSENT ? kernelParts(stat) : stat[6]);
    }
    sink.value(Metric.MEMORY_MAX_USAGE, file.readNumber(folder, MEMORY_PEAK));
    long[] events = new long[EVENT_KEYS.size()];
    if (file.readTable(folder, MEMORY_EVENTS, EVENT_KEYS, events)) {
      sink.value(Metric.OOM_EVENTS, events[0]);
      sink.value(Metric.MEMORY_FAILCNT, events[1]);
    }
    sink.value(Metric.MEMORY_SWAP, file.readNumber(folder, SWAP_CURRENT));
  }

  /** The sum came with kernel 5.18; before it there were only the parts. */
  private static long kernelParts(long[] stat) {
    long sum = ABSENT;
    for (int i = 7; i < stat.length; i++) {
      if (stat[i] != ABSENT) {
        sum = sum == ABSENT ? stat[i] : sum + stat[i];
      }
    }
    return sum;
  }

  /** {@code 254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6}, a line a device. */
  private void io(KernelFile file, KernelFolder folder, MetricSink sink) {
    if (!file.read(folder, IO_STAT)) {
      return;
    }
    while (file.nextLine()) {
      if (!file.nextWord()) {
        continue;
      }
      long major = file.number();
      long minor = file.nextWord() ? file.number() : ABSENT;
      if (major == ABSENT || minor == ABSENT) {
        continue;
      }
      BlockDevices.Device device = devices.get(major, minor);
      while (file.nextWord()) {
        String key = file.word();
        long count = file.nextWord() ? file.number() : ABSENT;
        switch (key) {
          case "rbytes" -> {
            sink.value(Metric.FS_READS_BYTES, count, device.name());
            blkio(device, "Read", count, sink);
          }
          case "wbytes" -> {
            sink.value(Metric.FS_WRITES_BYTES, count, device.name());
            blkio(device, "Write", count, sink);
          }
          case "dbytes" -> blkio(device, "Discard", count, sink);
          case "rios" -> sink.value(Metric.FS_READS, count, device.name());
          case "wios" -> sink.value(Metric.FS_WRITES, count, device.name());
          default -> {}
        }
      }
    }
  }

  private static void blkio(
      BlockDevices.Device device, String operation, long count, MetricSink sink) {
    sink.value(Metric.BLKIO_USAGE, count, device.name(), device.major(), device.minor(), operation);
  }
}
