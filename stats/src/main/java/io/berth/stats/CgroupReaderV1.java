package io.berth.stats;

import static io.berth.linux.KernelFile.ABSENT;

import io.berth.linux.Cgroups;
import io.berth.linux.KernelFile;
import io.berth.linux.KernelFolder;
import java.util.Optional;

/**
 * Cgroup v1, Documentation/admin-guide/cgroup-v1: one hierarchy a controller. A "total_" count is
 * that of the cgroup with those beneath it.
 */
final class CgroupReaderV1 extends CgroupReader {
  /** USER_HZ, the unit of cpuacct.stat, is 100 on every architecture that Linux gives Java. */
  private static final long TICKS_PER_SECOND = 100;

  private static final byte[] CPUACCT_USAGE = KernelFile.name("cpuacct.usage");
  private static final byte[] CPUACCT_STAT = KernelFile.name("cpuacct.stat");
  private static final byte[] CPU_STAT = KernelFile.name("cpu.stat");
  private static final byte[] CPU_SHARES = KernelFile.name("cpu.shares");
  private static final byte[] CPU_PERIOD = KernelFile.name("cpu.cfs_period_us");
  private static final byte[] CPU_QUOTA = KernelFile.name("cpu.cfs_quota_us");
  private static final byte[] MEMORY_USAGE = KernelFile.name("memory.usage_in_bytes");
  private static final byte[] MEMORY_MAX_USAGE = KernelFile.name("memory.max_usage_in_bytes");
  private static final byte[] MEMORY_FAILCNT = KernelFile.name("memory.failcnt");
  private static final byte[] MEMORY_LIMIT = KernelFile.name("memory.limit_in_bytes");
  private static final byte[] MEMORY_SOFT_LIMIT = KernelFile.name("memory.soft_limit_in_bytes");
  private static final byte[] MEMORY_KERNEL = KernelFile.name("memory.kmem.usage_in_bytes");
  private static final byte[] MEMORY_OOM = KernelFile.name("memory.oom_control");
  private static final byte[] MEMORY_STAT = KernelFile.name("memory.stat");
  private static final byte[] SWAP_LIMIT = KernelFile.name("memory.memsw.limit_in_bytes");
  private static final byte[] PIDS_CURRENT = KernelFile.name("pids.current");
  private static final byte[] PIDS_MAX = KernelFile.name("pids.max");
  private static final byte[] IO_BYTES =
      KernelFile.name("blkio.throttle.io_service_bytes_recursive");
  private static final byte[] IO_OPERATIONS =
      KernelFile.name("blkio.throttle.io_serviced_recursive");

  private static final KernelFile.Keys USAGE_KEYS =
      new KernelFile.Keys(
          "total_inactive_file", "total_rss", "total_pgfault", "total_pgmajfault", "total_swap");
  private static final KernelFile.Keys METRIC_KEYS =
      new KernelFile.Keys(
          "total_inactive_file",
          "total_rss",
          "total_pgfault",
          "total_pgmajfault",
          "total_cache",
          "total_mapped_file",
          "total_swap",
          "pgfault",
          "pgmajfault");
  private static final KernelFile.Keys CPU_KEYS =
      new KernelFile.Keys("nr_periods", "nr_throttled", "throttled_time");
  private static final KernelFile.Keys CPUACCT_KEYS = new KernelFile.Keys("user", "system");
  private static final KernelFile.Keys OOM_KEYS = new KernelFile.Keys("oom_kill");

  private final byte[] cpu;
  private final byte[] cpuacct;
  private final byte[] memory;
  private final byte[] pids;
  private final byte[] blkio;
  private final HugePages hugePages;
  private final BlockDevices devices = new BlockDevices();

  CgroupReaderV1(Cgroups cgroups) {
    super(cgroups);
    cpu = base(cgroups.folder("cpu", ""));
    cpuacct = base(cgroups.folder("cpuacct", ""));
    memory = base(cgroups.folder("memory", ""));
    pids = base(cgroups.folder("pids", ""));
    blkio = base(cgroups.folder("blkio", ""));
    hugePages =
        HugePages.of(cgroups.folder("hugetlb", ""), ".usage_in_bytes", ".max_usage_in_bytes");
  }

  @Override
  Standing standing(KernelFile file, OpenCgroup cgroup) {
    var recorder = new Standing.Recorder();
    KernelFolder folder = cgroup.in(memory);
    long memoryLimit = file.readNumber(folder, MEMORY_LIMIT);
    boolean memoryLimited = memoryLimit != ABSENT && !unlimited(memoryLimit);
    long swapLimit = file.readNumber(folder, SWAP_LIMIT);
    recorder.limit(Metric.SPEC_MEMORY_LIMIT, file, folder, MEMORY_LIMIT);
    recorder.limit(Metric.SPEC_MEMORY_SWAP_LIMIT, file, folder, SWAP_LIMIT);
    recorder.limit(Metric.SPEC_MEMORY_RESERVATION, file, folder, MEMORY_SOFT_LIMIT);
    if (!memoryLimited) {
      recorder.value(Metric.MEMORY_FAILCNT, file.readNumber(folder, MEMORY_FAILCNT));
    }
    folder = cgroup.in(cpu);
    long quota = file.readNumber(folder, CPU_QUOTA); // -1 is none
    recorder.value(Metric.SPEC_CPU_SHARES, file.readNumber(folder, CPU_SHARES));
    recorder.value(Metric.SPEC_CPU_PERIOD, file.readNumber(folder, CPU_PERIOD));
    recorder.value(Metric.SPEC_CPU_QUOTA, quota);
    if (quota < 0) {
      throttling(file, folder, recorder);
    }
    recorder.limit(Metric.THREADS_MAX, file, cgroup.in(pids), PIDS_MAX);
    boolean huge = hugePages.anyToUse();
    if (!huge) {
      hugePages.metrics(file, cgroup, recorder);
    }
    return new Standing(
        memoryLimit, swapLimit, quota >= 0, memoryLimited, huge, recorder.samples());
  }

  @Override
  Optional<CgroupUsage> usage(KernelFile file, OpenCgroup cgroup, Standing standing) {
    KernelFolder folder = cgroup.in(memory);
    long at = Clocks.wallNanos();
    long cpuNanos = file.readNumber(cgroup.in(cpuacct), CPUACCT_USAGE);
    long used = file.readNumber(folder, MEMORY_USAGE);
    if (cpuNanos == ABSENT && used == ABSENT) {
      return Optional.empty();
    }
    long[] stat = new long[USAGE_KEYS.size()];
    var _ = file.readTable(folder, MEMORY_STAT, USAGE_KEYS, stat);
    long workingSet = workingSet(used, stat[0]);
    long swap = stat[4]; // absent where swap isn't accounted
    // The limit is one of memory and swap together.
    long swapAvailable =
        swap == ABSENT || used == ABSENT ? ABSENT : upTo(standing.swapLimit(), used + swap);
    return Optional.of(
        new CgroupUsage(
            at,
            optional(cpuNanos),
            optional(ABSENT),
            optional(used),
            optional(workingSet),
            optional(stat[1]),
            optional(upTo(standing.memoryLimit(), workingSet)),
            optional(stat[2]),
            optional(stat[3]),
            optional(swap),
            optional(swapAvailable),
            optional(file.readNumber(cgroup.in(pids), PIDS_CURRENT)),
            cpuPressure(file, cgroup),
            memoryPressure(file, cgroup),
            ioPressure(file, cgroup)));
  }

  @Override
  byte[] processFolder(byte[] cgroup) {
    return folder(memory, cgroup);
  }

  @Override
  boolean tells(Metric metric) {
    return switch (metric) {
      case HUGETLB_USAGE, HUGETLB_MAX_USAGE -> hugePages.any();
      default -> !metric.isPressure() || tellsPressure();
    };
  }

  @Override
  boolean metrics(KernelFile file, OpenCgroup cgroup, Standing standing, MetricSink sink) {
    long cpuNanos = file.readNumber(cgroup.in(cpuacct), CPUACCT_USAGE);
    if (cpuNanos == ABSENT) {
      return false;
    }
    sink.seconds(Metric.CPU_USAGE, cpuNanos, MetricSink.ALL_CPUS);
    standing.tell(sink);
    cpu(file, cgroup, sink);
    if (standing.cpuLimited()) {
      throttling(file, cgroup.in(cpu), sink);
    }
    memory(file, cgroup.in(memory), standing, sink);
    sink.value(Metric.THREADS, file.readNumber(cgroup.in(pids), PIDS_CURRENT));
    KernelFolder folder = cgroup.in(blkio);
    io(file, folder, IO_BYTES, true, sink);
    io(file, folder, IO_OPERATIONS, false, sink);
    if (standing.hugePages()) {
      hugePages.metrics(file, cgroup, sink);
    }
    pressureMetrics(file, cgroup, sink);
    return true;
  }

  private void cpu(KernelFile file, OpenCgroup cgroup, MetricSink sink) {
    KernelFolder folder = cgroup.in(cpuacct);
    long[] ticks = new long[CPUACCT_KEYS.size()];
    if (file.readTable(folder, CPUACCT_STAT, CPUACCT_KEYS, ticks)) {
      sink.value(Metric.CPU_USER, ticks[0] == ABSENT ? ABSENT : ticks[0] / TICKS_PER_SECOND);
      sink.value(Metric.CPU_SYSTEM, ticks[1] == ABSENT ? ABSENT : ticks[1] / TICKS_PER_SECOND);
    }
  }

  private static void throttling(KernelFile file, KernelFolder folder, MetricSink sink) {
    long[] stat = new long[CPU_KEYS.size()];
    if (file.readTable(folder, CPU_STAT, CPU_KEYS, stat)) {
      sink.value(Metric.CFS_PERIODS, stat[0]);
      sink.value(Metric.CFS_THROTTLED_PERIODS, stat[1]);
      sink.seconds(Metric.CFS_THROTTLED, stat[2]);
    }
  }

  private static void memory(
      KernelFile file, KernelFolder folder, Standing standing, MetricSink sink) {
    long used = file.readNumber(folder, MEMORY_USAGE);
    sink.value(Metric.MEMORY_USAGE, used);
    long[] stat = new long[METRIC_KEYS.size()];
    if (file.readTable(folder, MEMORY_STAT, METRIC_KEYS, stat)) {
      sink.value(Metric.MEMORY_WORKING_SET, workingSet(used, stat[0]));
      sink.value(Metric.MEMORY_RSS, stat[1]);
      sink.value(Metric.MEMORY_FAILURES, stat[2], "pgfault", "hierarchy");
      sink.value(Metric.MEMORY_FAILURES, stat[3], "pgmajfault", "hierarchy");
      sink.value(Metric.MEMORY_CACHE, stat[4]);
      sink.value(Metric.MEMORY_MAPPED_FILE, stat[5]);
      sink.value(Metric.MEMORY_SWAP, stat[6]);
      sink.value(Metric.MEMORY_FAILURES, stat[7], "pgfault", "container");
      sink.value(Metric.MEMORY_FAILURES, stat[8], "pgmajfault", "container");
    }
    sink.value(Metric.MEMORY_MAX_USAGE, file.readNumber(folder, MEMORY_MAX_USAGE));
    if (standing.memoryLimited()) {
      sink.value(Metric.MEMORY_FAILCNT, file.readNumber(folder, MEMORY_FAILCNT));
    }
    sink.value(Metric.MEMORY_KERNEL, file.readNumber(folder, MEMORY_KERNEL));
    long[] kills = new long[OOM_KEYS.size()];
    if (file.readTable(folder, MEMORY_OOM, OOM_KEYS, kills)) {
      sink.value(Metric.OOM_EVENTS, kills[0]);
    }
  }

  /** {@code MAJOR:MINOR OPERATION COUNT}, and at the end a line of totals. */
  private void io(
      KernelFile file, KernelFolder folder, byte[] name, boolean bytes, MetricSink sink) {
    if (!file.read(folder, name)) {
      return;
    }
    while (file.nextLine()) {
      if (!file.nextWord()) {
        continue;
      }
      long major = file.number();
      if (major == ABSENT || !file.nextWord()) {
        continue; // the totals
      }
      long minor = file.number();
      if (minor == ABSENT || !file.nextWord()) {
        continue;
      }
      String operation = file.word();
      if (operation.equals("Total") || !file.nextWord()) {
        continue;
      }
      long count = file.number();
      BlockDevices.Device device = devices.get(major, minor);
      switch (operation) {
        case "Read" ->
            sink.value(bytes ? Metric.FS_READS_BYTES : Metric.FS_READS, count, device.name());
        case "Write" ->
            sink.value(bytes ? Metric.FS_WRITES_BYTES : Metric.FS_WRITES, count, device.name());
        default -> {}
      }
      if (bytes) {
        sink.value(
            Metric.BLKIO_USAGE, count, device.name(), device.major(), device.minor(), operation);
      }
    }
  }
}
