package io.berth.stats;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.KernelFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CgroupReaderTest {
  private static final Pressure PRESSURE =
      new Pressure(
          new Pressure.Share(2_000_001_000L, 1.5, 0.25, 0.01),
          new Pressure.Share(1_000_000_000L, 0, 0, 0));

  @TempDir Path root;

  private CgroupTree tree() {
    return new CgroupTree(root);
  }

  private static void assertUsage(CgroupUsage usage) {
    assertThat(usage.at()).isPositive();
    assertThat(usage.cpuNanos()).hasValue(7_500_000_000L);
    assertThat(usage.nanoCores()).as("the first reading has no rate").isEmpty();
    assertThat(usage.memory()).hasValue(1_000_000);
    assertThat(usage.workingSet()).hasValue(900_000);
    assertThat(usage.available()).hasValue(2_100_000);
    assertThat(usage.rss()).hasValue(500_000);
    assertThat(usage.pageFaults()).hasValue(777);
    assertThat(usage.majorPageFaults()).hasValue(77);
    assertThat(usage.swap()).hasValue(4096);
    assertThat(usage.tasks()).hasValue(9);
  }

  @Test
  void v2IsReadInItsUnits() throws Exception {
    CgroupUsage usage = tree().v2().usage().orElseThrow();
    assertUsage(usage);
    assertThat(usage.swapAvailable()).hasValue(4096);
    assertThat(usage.cpuPressure()).isEqualTo(PRESSURE);
    assertThat(usage.memoryPressure()).isEqualTo(PRESSURE);
    assertThat(usage.ioPressure()).isEqualTo(PRESSURE);
  }

  @Test
  void v1IsReadWhereEachControllerIsAndHasNoPressure() throws Exception {
    CgroupUsage usage = tree().v1().usage().orElseThrow();
    assertUsage(usage);
    assertThat(usage.swapAvailable()).hasValue(3_008_192 - 1_000_000 - 4096);
    assertThat(usage.cpuPressure()).isNull();
    assertThat(usage.memoryPressure()).isNull();
    assertThat(usage.ioPressure()).isNull();
  }

  @Test
  void hybridHasThePressureOfItsUnifiedTree() throws Exception {
    CgroupUsage usage = tree().v1().unified().usage().orElseThrow();
    assertUsage(usage);
    assertThat(usage.cpuPressure()).isEqualTo(PRESSURE);
    assertThat(usage.ioPressure()).isEqualTo(PRESSURE);
  }

  @Test
  void processorsOfOlderKernelsHaveNoFullPressure() throws Exception {
    CgroupTree tree = tree().v2();
    tree.file("CG/cpu.pressure", "some avg10=1.50 avg60=0.25 avg300=0.01 total=2000001\n");
    assertThat(tree.usage().orElseThrow().cpuPressure())
        .isEqualTo(new Pressure(PRESSURE.some(), null));
    assertThat(tree.metrics())
        .containsEntry("PRESSURE_CPU_WAITING", 2L)
        .doesNotContainKey("PRESSURE_CPU_STALLED");
  }

  @Test
  void withoutALimitNothingIsSaidOfWhatIsAvailable() throws Exception {
    CgroupTree v2 = tree().v2().file("CG/memory.max", "max\n").file("CG/memory.swap.max", "max\n");
    assertThat(v2.usage().orElseThrow().available()).isEmpty();
    assertThat(v2.usage().orElseThrow().swap()).hasValue(4096);
    assertThat(v2.usage().orElseThrow().swapAvailable()).isEmpty();
  }

  @Test
  void thePageRoundedLimitOfV1IsNone() throws Exception {
    CgroupTree v1 =
        tree()
            .v1()
            .file("memory/CG/memory.limit_in_bytes", "9223372036854771712\n")
            .file("memory/CG/memory.memsw.limit_in_bytes", "9223372036854771712\n");
    assertThat(v1.usage().orElseThrow().available()).isEmpty();
    assertThat(v1.usage().orElseThrow().swapAvailable()).isEmpty();
    assertThat(v1.metrics()).containsEntry("SPEC_MEMORY_LIMIT", 0L);
  }

  @Test
  void workingSetAndWhatIsAvailableAreNeverNegative() throws Exception {
    CgroupTree tree =
        tree().v2().file("CG/memory.current", "50000\n").file("CG/memory.max", "40000\n");
    assertThat(tree.usage().orElseThrow().workingSet()).hasValue(0);
    tree.file("CG/memory.current", "1000000\n");
    assertThat(tree.usage().orElseThrow().available()).hasValue(0);
  }

  @Test
  void unknownIsAbsentNotZero() throws Exception {
    CgroupTree tree =
        tree().file("cgroup.controllers", "cpu\n").file("CG/cpu.stat", "usage_usec 5\n");
    CgroupUsage usage = tree.usage().orElseThrow();
    assertThat(usage.cpuNanos()).hasValue(5000);
    assertThat(
            Stream.of(
                usage.memory(),
                usage.workingSet(),
                usage.available(),
                usage.rss(),
                usage.pageFaults(),
                usage.majorPageFaults(),
                usage.swap(),
                usage.swapAvailable(),
                usage.tasks()))
        .allMatch(count -> count.isEmpty());
    assertThat(usage.memoryPressure()).isNull();
    assertThat(tree.metrics()).containsOnlyKeys("CPU_USAGE total");
  }

  @Test
  void limitsThatBerthChangedAreReadAtOnceAndOthersAreKeptForAWhile() throws Exception {
    for (CgroupTree tree :
        List.of(new CgroupTree(root.resolve("v1")).v1(), new CgroupTree(root.resolve("v2")).v2())) {
      var stats = new CgroupStats(tree.cgroups());
      var file = new KernelFile();
      Object before = new Object();
      assertThat(stats.usage(file, CgroupTree.CGROUP, before).orElseThrow().available())
          .hasValue(2_100_000);
      tree.file("memory/CG/memory.limit_in_bytes", "4000000\n").file("CG/memory.max", "4000000\n");
      assertThat(stats.usage(file, CgroupTree.CGROUP, before).orElseThrow().available())
          .hasValue(2_100_000);
      assertThat(stats.usage(file, CgroupTree.CGROUP, new Object()).orElseThrow().available())
          .hasValue(3_100_000);
    }
  }

  @Test
  void withoutALimitCountsThatOnlyALimitMovesAreToldAllTheSame() throws Exception {
    assertThat(
            tree()
                .v1()
                .file("cpu,cpuacct/CG/cpu.cfs_quota_us", "-1\n")
                .file("memory/CG/memory.limit_in_bytes", "9223372036854771712\n")
                .metrics())
        .containsEntry("CFS_PERIODS", 40L)
        .containsEntry("CFS_THROTTLED_PERIODS", 12L)
        .containsEntry("MEMORY_FAILCNT", 5L)
        .doesNotContainKey("SPEC_CPU_QUOTA");
  }

  @Test
  void linesOfAnotherShapeAreSkipped() throws Exception {
    CgroupTree tree =
        tree()
            .v2()
            .file(
                "CG/memory.stat",
                "anon 5\n\nstrange\nfile 99999999999999999999\na b c\npgfault 7\npgmajfault");
    CgroupUsage usage = tree.usage().orElseThrow();
    assertThat(usage.rss()).hasValue(5);
    assertThat(usage.pageFaults()).hasValue(7);
    assertThat(usage.majorPageFaults()).isEmpty();
    assertThat(usage.workingSet()).isEmpty();
    assertThat(tree.metrics()).doesNotContainKey("MEMORY_CACHE");
  }

  @Test
  void aCgroupThatHasGoneHasNoUsageAndNoMetrics() throws Exception {
    for (CgroupTree tree :
        List.of(new CgroupTree(root.resolve("v1")).v1(), new CgroupTree(root.resolve("v2")).v2())) {
      assertThat(tree.usage()).isPresent();
      tree.removeCgroup();
      assertThat(tree.usage()).isEmpty();
      assertThat(tree.metrics()).isEmpty();
    }
  }

  private static Map<String, Long> sameOnBoth() {
    var same = new TreeMap<String, Long>();
    same.put("CPU_USAGE total", 7L);
    same.put("CPU_USER", 5L);
    same.put("CPU_SYSTEM", 2L);
    same.put("CFS_PERIODS", 40L);
    same.put("CFS_THROTTLED_PERIODS", 12L);
    same.put("CFS_THROTTLED", 3L);
    same.put("SPEC_CPU_PERIOD", 100_000L);
    same.put("SPEC_CPU_QUOTA", 20_000L);
    same.put("MEMORY_USAGE", 1_000_000L);
    same.put("MEMORY_WORKING_SET", 900_000L);
    same.put("MEMORY_RSS", 500_000L);
    same.put("MEMORY_CACHE", 400_000L);
    same.put("MEMORY_MAPPED_FILE", 3000L);
    same.put("MEMORY_SWAP", 4096L);
    same.put("MEMORY_KERNEL", 60_000L);
    same.put("MEMORY_MAX_USAGE", 1_500_000L);
    same.put("MEMORY_FAILCNT", 5L);
    same.put("MEMORY_FAILURES pgfault hierarchy", 777L);
    same.put("MEMORY_FAILURES pgmajfault hierarchy", 77L);
    same.put("OOM_EVENTS", 1L);
    same.put("SPEC_MEMORY_LIMIT", 3_000_000L);
    same.put("SPEC_MEMORY_RESERVATION", 0L);
    same.put("THREADS", 9L);
    // No such device: the name is empty, the numbers are told all the same.
    same.put("FS_READS", 1L);
    same.put("FS_READS_BYTES", 4096L);
    same.put("FS_WRITES", 2L);
    same.put("FS_WRITES_BYTES", 8192L);
    same.put("BLKIO_USAGE  253 77 Read", 4096L);
    same.put("BLKIO_USAGE  253 77 Write", 8192L);
    same.put("BLKIO_USAGE  253 77 Discard", 0L);
    return same;
  }

  @Test
  void metricsOfV1() throws Exception {
    Map<String, Long> expected = sameOnBoth();
    expected.put("SPEC_CPU_SHARES", 1024L);
    expected.put("SPEC_MEMORY_SWAP_LIMIT", 3_008_192L);
    expected.put("THREADS_MAX", 64L);
    expected.put("MEMORY_FAILURES pgfault container", 700L);
    expected.put("MEMORY_FAILURES pgmajfault container", 7L);
    expected.put("BLKIO_USAGE  253 77 Sync", 8192L);
    expected.put("BLKIO_USAGE  253 77 Async", 4096L);
    assertThat(tree().v1().metrics()).isEqualTo(expected);
  }

  @Test
  void metricsOfV2() throws Exception {
    Map<String, Long> expected = sameOnBoth();
    expected.put("SPEC_CPU_SHARES", 998L); // weight 39 is what OCI runtimes made of 1024 shares
    expected.put("SPEC_MEMORY_SWAP_LIMIT", 8192L);
    expected.put("THREADS_MAX", 0L);
    expected.put("MEMORY_FAILURES pgfault container", 777L);
    expected.put("MEMORY_FAILURES pgmajfault container", 77L);
    for (String resource : new String[] {"CPU", "IO", "MEMORY"}) {
      expected.put("PRESSURE_" + resource + "_WAITING", 2L);
      expected.put("PRESSURE_" + resource + "_STALLED", 1L);
    }
    CgroupTree tree = tree().v2();
    assertThat(withoutHugePages(tree.metrics())).isEqualTo(expected);
  }

  private static Map<String, Long> withoutHugePages(Map<String, Long> metrics) {
    metrics.keySet().removeIf(name -> name.startsWith("HUGETLB"));
    return metrics;
  }

  @Test
  void weightsOfV2AreSharesFromEndToEnd() throws Exception {
    assertThat(tree().v2().file("CG/cpu.weight", "1\n").metrics())
        .containsEntry("SPEC_CPU_SHARES", 2L);
    assertThat(tree().v2().file("CG/cpu.weight", "10000\n").metrics())
        .containsEntry("SPEC_CPU_SHARES", 262_144L);
  }

  @Test
  void withoutAQuotaNoneIsTold() throws Exception {
    assertThat(tree().v2().file("CG/cpu.max", "max 100000\n").metrics())
        .doesNotContainKey("SPEC_CPU_QUOTA")
        .containsEntry("SPEC_CPU_PERIOD", 100_000L);
  }

  @Test
  void negativeQuotaOfV1IsNone() throws Exception {
    assertThat(tree().v1().file("cpu,cpuacct/CG/cpu.cfs_quota_us", "-1\n").metrics())
        .doesNotContainKey("SPEC_CPU_QUOTA");
  }

  @Test
  void kernelsBefore518TellTheirMemoryInParts() throws Exception {
    CgroupTree tree = tree().v2();
    tree.file("CG/memory.stat", "kernel_stack 1\npagetables 20\npercpu 300\nslab 4000\nsock 9\n");
    assertThat(tree.metrics()).containsEntry("MEMORY_KERNEL", 4321L);
  }

  @Test
  void hugePagesAreToldByTheirSizes() throws Exception {
    CgroupTree tree = tree().v2();
    boolean any = Files.isDirectory(Path.of("/sys/kernel/mm/hugepages/hugepages-2048kB"));
    tree.file("CG/hugetlb.2MB.current", "4194304\n").file("CG/hugetlb.1GB.current", "0\n");
    assertThat(tree.metrics().get("HUGETLB_USAGE 2MB")).isEqualTo(any ? 4_194_304L : null);
    assertThat(tree.reader().tells(Metric.HUGETLB_MAX_USAGE)).isFalse();
  }

  @Test
  void withoutTheControllerHugePagesAreNotOffered() throws Exception {
    assertThat(tree().v1().reader().tells(Metric.HUGETLB_USAGE)).isFalse();
  }

  @Test
  void onlyWhatTheMachineKeepsIsOffered() throws Exception {
    CgroupReader v1 = tree().v1().reader();
    assertThat(v1.tells(Metric.PRESSURE_IO_WAITING)).isFalse();
    assertThat(v1.tells(Metric.MEMORY_MAX_USAGE)).isTrue();
    assertThat(tree().v1().unified().reader().tells(Metric.PRESSURE_IO_WAITING)).isTrue();
  }

  @Test
  void v2WithoutSwapAndPeakOffersNeither() throws Exception {
    CgroupTree tree = tree().v2();
    // Looked for in the cgroups beneath the root, as the root has no such files.
    tree.file("system.slice/memory.current", "1\n");
    assertThat(tree.reader().tells(Metric.MEMORY_SWAP)).isFalse();
    assertThat(tree.reader().tells(Metric.MEMORY_MAX_USAGE)).isFalse();
    tree.file("system.slice/memory.swap.current", "0\n").file("system.slice/memory.peak", "1\n");
    assertThat(tree.reader().tells(Metric.MEMORY_SWAP)).isTrue();
    assertThat(tree.reader().tells(Metric.MEMORY_MAX_USAGE)).isTrue();
    assertThat(tree.reader().tells(Metric.PRESSURE_CPU_STALLED)).isTrue();
  }

  @Test
  void filesLargerThanTheBufferAreReadWhole() throws Exception {
    CgroupTree tree = tree().v2();
    tree.file("CG/memory.stat", "some_other_count 1\n".repeat(2000) + "anon 12345\n");
    assertThat(tree.usage().orElseThrow().rss()).hasValue(12345);
    KernelFile file = new KernelFile();
    assertThat(file.read(KernelFile.name(root + CgroupTree.CGROUP), KernelFile.name("memory.stat")))
        .isTrue();
    assertThat(file.lines()).isEqualTo(2001);
  }
}
