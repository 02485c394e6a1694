package io.berth.stats;

import io.berth.linux.Cgroups;
import io.berth.linux.FileTree;
import io.berth.linux.KernelFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;

/** A folder that looks like /sys/fs/cgroup, with one cgroup, {@code /pod/c}. */
final class CgroupTree {
  static final String CGROUP = "/pod/c";

  private static final String V1_MEMORY_STAT =
      """
      cache 10
      rss 20
      mapped_file 3
      swap 4
      pgfault 700
      pgmajfault 7
      inactive_file 1
      hierarchical_memory_limit 9223372036854771712
      total_cache 400000
      total_rss 500000
      total_mapped_file 3000
      total_swap 4096
      total_pgfault 777
      total_pgmajfault 77
      total_inactive_file 100000
      """;

  private final Path root;

  CgroupTree(Path root) {
    this.root = root;
  }

  /** {@code CG} in the path stands for the cgroup. */
  CgroupTree file(String path, String content) throws IOException {
    Path file = root.resolve(path.replace("CG", CGROUP.substring(1)));
    Files.createDirectories(file.getParent());
    Files.writeString(file, content);
    return this;
  }

  /** As Linux 6.12 writes them. */
  CgroupTree v2() throws IOException {
    return file("cgroup.controllers", "cpuset cpu io memory hugetlb pids\n")
        .file("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n")
        .file("CG/cgroup.procs", "")
        .file(
            "CG/cpu.stat",
            """
            usage_usec 7500000
            user_usec 5000000
            system_usec 2500000
            nice_usec 0
            core_sched.force_idle_usec 0
            nr_periods 40
            nr_throttled 12
            throttled_usec 3999999
            nr_bursts 0
            burst_usec 0
            """)
        .file("CG/cpu.max", "20000 100000\n")
        .file("CG/cpu.weight", "39\n")
        .file("CG/memory.current", "1000000\n")
        .file("CG/memory.peak", "1500000\n")
        .file("CG/memory.max", "3000000\n")
        .file("CG/memory.low", "0\n")
        .file("CG/memory.swap.current", "4096\n")
        .file("CG/memory.swap.max", "8192\n")
        .file(
            "CG/memory.stat",
            """
            anon 500000
            file 400000
            kernel 60000
            kernel_stack 16384
            file_mapped 3000
            inactive_file 100000
            pgfault 777
            pgmajfault 77
            """)
        .file("CG/memory.events", "low 0\nhigh 0\nmax 5\noom 2\noom_kill 1\noom_group_kill 0\n")
        .file("CG/pids.current", "9\n")
        .file("CG/pids.max", "max\n")
        .file("CG/io.stat", "253:77 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n")
        .pressure("CG");
  }

  /** As Linux 6.18 writes them, the controllers mounted as Debian does. */
  CgroupTree v1() throws IOException {
    for (String hierarchy : new String[] {"cpu,cpuacct", "memory", "pids", "blkio"}) {
      file(hierarchy + "/cgroup.procs", "1\n");
    }
    return file("cpu,cpuacct/CG/cpuacct.usage", "7500000000\n")
        .file("cpu,cpuacct/CG/cpuacct.stat", "user 500\nsystem 250\n")
        .file(
            "cpu,cpuacct/CG/cpu.stat",
            "nr_periods 40\nnr_throttled 12\nthrottled_time 3999999999\nnr_bursts 0\n")
        .file("cpu,cpuacct/CG/cpu.shares", "1024\n")
        .file("cpu,cpuacct/CG/cpu.cfs_period_us", "100000\n")
        .file("cpu,cpuacct/CG/cpu.cfs_quota_us", "20000\n")
        .file("memory/CG/memory.usage_in_bytes", "1000000\n")
        .file("memory/CG/memory.max_usage_in_bytes", "1500000\n")
        .file("memory/CG/memory.failcnt", "5\n")
        .file("memory/CG/memory.limit_in_bytes", "3000000\n")
        .file("memory/CG/memory.soft_limit_in_bytes", "9223372036854771712\n")
        .file("memory/CG/memory.kmem.usage_in_bytes", "60000\n")
        .file("memory/CG/memory.memsw.usage_in_bytes", "1004096\n")
        .file("memory/CG/memory.memsw.limit_in_bytes", "3008192\n")
        .file("memory/CG/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
        .file("memory/CG/memory.stat", V1_MEMORY_STAT)
        .file("pids/CG/pids.current", "9\n")
        .file("pids/CG/pids.max", "64\n")
        .file(
            "blkio/CG/blkio.throttle.io_service_bytes_recursive",
            """
            253:77 Read 4096
            253:77 Write 8192
            253:77 Sync 8192
            253:77 Async 4096
            253:77 Discard 0
            253:77 Total 12288
            Total 12288
            """)
        .file(
            "blkio/CG/blkio.throttle.io_serviced_recursive",
            "253:77 Read 1\n253:77 Write 2\n253:77 Total 3\nTotal 3\n");
  }

  /** The tree without controllers that systemd mounts beside those of v1. */
  CgroupTree unified() throws IOException {
    return file("unified/cgroup.procs", "1\n")
        .file("unified/cgroup.controllers", "")
        .file("unified/cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n")
        .pressure("unified/CG");
  }

  private CgroupTree pressure(String folder) throws IOException {
    for (String resource : new String[] {"cpu", "memory", "io"}) {
      file(
          folder + "/" + resource + ".pressure",
          """
          some avg10=1.50 avg60=0.25 avg300=0.01 total=2000001
          full avg10=0.00 avg60=0.00 avg300=0.00 total=1000000
          """);
    }
    return this;
  }

  void removeCgroup() throws IOException {
    try (Stream<Path> all = Files.walk(root)) {
      for (Path folder : all.filter(path -> path.endsWith(CGROUP.substring(1))).toList()) {
        FileTree.delete(folder);
      }
    }
  }

  Cgroups cgroups() {
    return Cgroups.detect(root);
  }

  CgroupReader reader() {
    return CgroupReader.of(Cgroups.detect(root));
  }

  Optional<CgroupUsage> usage() {
    try (var stats = new CgroupStats(Cgroups.detect(root))) {
      return stats.usage(new KernelFile(), CGROUP, null);
    }
  }

  /** By metric and labels, as in {@code MEMORY_FAILURES pgfault container}. */
  Map<String, Long> metrics() {
    Map<String, Long> metrics = new TreeMap<>();
    var file = new KernelFile();
    OpenCgroup cgroup = OpenCgroup.once(KernelFile.name(CGROUP));
    CgroupReader reader = reader();
    reader.metrics(
        file,
        cgroup,
        reader.standing(file, cgroup),
        (metric, value, labels) -> {
          if (labels.length != metric.labels().size()) {
            throw new AssertionError("labels of " + metric);
          }
          metrics.put((metric + " " + String.join(" ", labels)).strip(), value);
        });
    return metrics;
  }
}
