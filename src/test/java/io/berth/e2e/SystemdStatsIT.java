package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerStats;
import io.berth.cri.v1.ContainerStatsRequest;
import io.berth.cri.v1.LinuxContainerResources;
import io.berth.cri.v1.ListMetricDescriptorsRequest;
import io.berth.cri.v1.ListPodSandboxMetricsRequest;
import io.berth.cri.v1.Metric;
import io.berth.cri.v1.MetricDescriptor;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PodSandboxMetrics;
import io.berth.cri.v1.PodSandboxStats;
import io.berth.cri.v1.PodSandboxStatsRequest;
import io.berth.cri.v1.PsiStats;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicReference;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;

/**
 * Stats and metrics on cgroup v2 with systemd, against the kernel's own files. In the machine of
 * {@code ./dev vm-test}.
 */
@Tag("vm")
@TestInstance(Lifecycle.PER_CLASS)
class SystemdStatsIT {
  private static final long MIB = 1 << 20;
  private static final long MILLION = 1_000_000;

  /** Those that critest knows, but for the one that version 2 keeps no count of. */
  private static final int METRICS = 55;

  /** Of which the kernel tells nothing before the first block has moved. */
  private static final Pattern READS = Pattern.compile("container_fs_reads.*");

  /** Holds 16 MiB, writes 4 MiB to the disk, and has a child and two threads, all at rest. */
  private static final List<String> WORK =
      List.of(
          "sh",
          "-c",
          "dd if=/dev/zero of=/dev/shm/held bs=1M count=16;"
              + " dd if=/dev/zero of=/written bs=64k count=64 conv=fsync;"
              + " touch /done; sleep 3600 & wait");

  private final InstalledPods pods;

  SystemdStatsIT() throws IOException, InterruptedException {
    pods = new InstalledPods(InstalledBerth.start("", Path.of("busybox.tar"), InstalledPods.IMAGE));
  }

  @AfterEach
  void nothingIsLeftOfThePods(TestInfo test) throws InterruptedException {
    pods.removeAll(test);
  }

  @AfterAll
  void end() {
    pods.close();
  }

  /** What was asked while the kernel said the same before and after. */
  private static <T, K> T unmoved(Callable<K> kernel, Callable<T> question) throws Exception {
    var answer = new AtomicReference<T>();
    Await.until(
        "the kernel's figures stand still while they are asked for",
        InstalledBerth.PATIENCE,
        () -> {
          K before = kernel.call();
          answer.set(question.call());
          return kernel.call().equals(before);
        });
    return answer.get();
  }

  private static ContainerStats stats(String container) {
    try (var client = new CriClient(InstalledBerth.SOCKET)) {
      return client
          .runtime()
          .containerStats(ContainerStatsRequest.newBuilder().setContainerId(container).build())
          .getStats();
    }
  }

  private static PodSandboxStats podStats(String pod) {
    try (var client = new CriClient(InstalledBerth.SOCKET)) {
      return client
          .runtime()
          .podSandboxStats(PodSandboxStatsRequest.newBuilder().setPodSandboxId(pod).build())
          .getStats();
    }
  }

  private static PodSandboxMetrics metrics() {
    try (var client = new CriClient(InstalledBerth.SOCKET)) {
      return client
          .runtime()
          .listPodSandboxMetrics(ListPodSandboxMetricsRequest.getDefaultInstance())
          .getPodMetrics(0);
    }
  }

  private static List<MetricDescriptor> descriptors() {
    try (var client = new CriClient(InstalledBerth.SOCKET)) {
      return client
          .runtime()
          .listMetricDescriptors(ListMetricDescriptorsRequest.getDefaultInstance())
          .getDescriptorsList();
    }
  }

  private static LinuxContainerResources.Builder limits() {
    return LinuxContainerResources.newBuilder()
        .setCpuPeriod(100_000)
        .setCpuQuota(50_000)
        .setMemoryLimitInBytes(96 * MIB)
        .setMemorySwapLimitInBytes(128 * MIB);
  }

  /** Runs {@link #WORK} until it rests. */
  private String worked(String podId, PodSandboxConfig pod) throws InterruptedException {
    ContainerConfig config = InstalledPods.container("main", WORK, limits().build());
    String id = pods.started(podId, pod, config);
    Await.until(
        "it rests",
        InstalledBerth.PATIENCE,
        () -> Files.exists(Path.of("/proc/" + InstalledPods.pid(id) + "/root/done")));
    return id;
  }

  @Test
  void whatAContainerUsesIsWhatItsFilesSay() throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("used").build();
    String podId = pods.run(pod, "runc");
    String id = worked(podId, pod);
    var kernel = new KernelCounters(InstalledPods.pid(id));
    ContainerStats stats =
        unmoved(
            () ->
                List.of(
                    kernel.file("memory.current"),
                    kernel.file("memory.stat"),
                    kernel.file("cpu.stat"),
                    kernel.file("cpu.pressure"),
                    kernel.file("memory.pressure"),
                    kernel.file("io.pressure")),
            () -> stats(id));

    var cpu = stats.getCpu();
    assertThat(cpu.getUsageCoreNanoSeconds().getValue())
        .isPositive()
        .isEqualTo(kernel.line("cpu.stat", "usage_usec") * 1000);
    var memory = stats.getMemory();
    long used = Long.parseLong(kernel.file("memory.current"));
    long workingSet = used - kernel.line("memory.stat", "inactive_file");
    assertThat(memory.getUsageBytes().getValue()).isGreaterThan(16 * MIB).isEqualTo(used);
    assertThat(memory.getWorkingSetBytes().getValue())
        .as("without what was written")
        .isEqualTo(workingSet)
        .isLessThan(used);
    assertThat(memory.getRssBytes().getValue())
        .isPositive()
        .isEqualTo(kernel.line("memory.stat", "anon"));
    assertThat(memory.getPageFaults().getValue())
        .isPositive()
        .isEqualTo(kernel.line("memory.stat", "pgfault"));
    assertThat(memory.getMajorPageFaults().getValue())
        .isEqualTo(kernel.line("memory.stat", "pgmajfault"));
    assertThat(memory.getAvailableBytes().getValue()).isEqualTo(96 * MIB - workingSet);
    assertThat(stats.getSwap().getSwapUsageBytes().getValue())
        .isEqualTo(Long.parseLong(kernel.file("memory.swap.current")));
    assertThat(stats.getSwap().getSwapAvailableBytes().getValue())
        .isEqualTo(
            Long.parseLong(kernel.file("memory.swap.max"))
                - Long.parseLong(kernel.file("memory.swap.current")));
    equalsPressure(kernel, "cpu", cpu.getPsi());
    equalsPressure(kernel, "memory", memory.getPsi());
    equalsPressure(kernel, "io", stats.getIo().getPsi());
    assertThat(stats.getIo().getPsi().getSome().getTotal()).as("it has written").isPositive();
  }

  private static void equalsPressure(KernelCounters kernel, String resource, PsiStats told)
      throws IOException {
    assertThat(told.getSome().getTotal())
        .as("some of " + resource)
        .isEqualTo(kernel.pressure(resource, "some") * 1000);
    assertThat(told.getFull().getTotal())
        .as("full of " + resource)
        .isEqualTo(kernel.pressure(resource, "full") * 1000);
  }

  @Test
  void whatAPodUsesIsWhatItsSliceSays() throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("slice").build();
    String podId = pods.run(pod, "runc");
    String id = worked(podId, pod);
    var second = InstalledPods.container("second", limits().build());
    var _ = pods.started(podId, pod, second);
    var kernel = new KernelCounters(InstalledPods.pid(id)).parent();
    PodSandboxStats stats =
        unmoved(
            () ->
                List.of(
                    kernel.file("memory.current"),
                    kernel.file("memory.stat"),
                    kernel.file("cpu.stat"),
                    kernel.file("pids.current")),
            () -> podStats(podId));

    assertThat(stats.getLinux().getCpu().getUsageCoreNanoSeconds().getValue())
        .isEqualTo(kernel.line("cpu.stat", "usage_usec") * 1000);
    assertThat(stats.getLinux().getMemory().getUsageBytes().getValue())
        .isEqualTo(Long.parseLong(kernel.file("memory.current")));
    assertThat(stats.getLinux().getMemory().getRssBytes().getValue())
        .isEqualTo(kernel.line("memory.stat", "anon"));
    assertThat(stats.getLinux().getProcess().getProcessCount().getValue())
        .isEqualTo(Long.parseLong(kernel.file("pids.current")))
        .isEqualTo(4);
    assertThat(stats.getLinux().getContainersCount()).isEqualTo(2);
    assertThat(stats.getLinux().getNetwork().getDefaultInterface().getName()).isEqualTo("eth0");
  }

  @Test
  void metricsAreWhatTheKernelsFilesSay() throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("measured").build();
    String podId = pods.run(pod, "runc");
    String id = worked(podId, pod);
    var kernel = new KernelCounters(InstalledPods.pid(id));
    PodSandboxMetrics told =
        unmoved(
            () ->
                List.of(
                    kernel.file("memory.current"),
                    kernel.file("memory.stat"),
                    kernel.file("cpu.stat"),
                    kernel.file("io.stat")),
            SystemdStatsIT::metrics);
    Set<String> offered =
        descriptors().stream().map(MetricDescriptor::getName).collect(Collectors.toSet());
    List<Metric> main = told.getContainerMetrics(0).getMetricsList();
    Set<String> observed =
        main.stream().map(Metric::getName).collect(Collectors.toCollection(HashSet::new));
    told.getMetricsList().forEach(metric -> observed.add(metric.getName()));

    assertThat(offered).hasSize(METRICS).contains("container_pressure_io_stalled_seconds_total");
    assertThat(offered).filteredOn(name -> !READS.matcher(name).matches()).isSubsetOf(observed);
    assertThat(value(main, "container_memory_usage_bytes"))
        .isEqualTo(Long.parseLong(kernel.file("memory.current")));
    assertThat(value(main, "container_memory_max_usage_bytes"))
        .isEqualTo(Long.parseLong(kernel.file("memory.peak")));
    assertThat(value(main, "container_memory_cache")).isEqualTo(kernel.line("memory.stat", "file"));
    assertThat(value(main, "container_memory_kernel_usage"))
        .isEqualTo(kernel.line("memory.stat", "kernel"));
    assertThat(value(main, "container_memory_failcnt"))
        .isEqualTo(kernel.line("memory.events", "max"));
    assertThat(value(main, "container_memory_swap"))
        .isEqualTo(Long.parseLong(kernel.file("memory.swap.current")));
    assertThat(value(main, "container_spec_memory_swap_limit_bytes")).isEqualTo(32 * MIB);
    assertThat(value(main, "container_spec_memory_limit_bytes")).isEqualTo(96 * MIB);
    assertThat(value(main, "container_spec_cpu_quota")).isEqualTo(50_000);
    assertThat(value(main, "container_spec_cpu_period")).isEqualTo(100_000);
    assertThat(value(main, "container_cpu_usage_seconds_total"))
        .isEqualTo(kernel.line("cpu.stat", "usage_usec") / MILLION);
    assertThat(value(main, "container_cpu_cfs_periods_total"))
        .isEqualTo(kernel.line("cpu.stat", "nr_periods"));
    assertThat(value(main, "container_threads"))
        .isEqualTo(Long.parseLong(kernel.file("pids.current")))
        .isEqualTo(2);
    assertThat(value(main, "container_processes")).isEqualTo(2);
    assertThat(value(main, "container_pressure_cpu_waiting_seconds_total"))
        .isEqualTo(kernel.pressure("cpu", "some") / MILLION);
    assertThat(value(main, "container_pressure_io_stalled_seconds_total"))
        .isEqualTo(kernel.pressure("io", "full") / MILLION);
    assertThat(value(main, "container_fs_writes_bytes_total"))
        .as("of /dev/vda, by " + kernel.file("io.stat"))
        .isGreaterThanOrEqualTo(4 * MIB)
        .isEqualTo(
            Long.parseLong(kernel.file("io.stat").replaceAll("(?s).*wbytes=([0-9]+).*", "$1")));
    assertThat(value(main, "container_oom_events_total")).isZero();
  }

  @Test
  void memoryOnTheSwapIsTold(TestInfo test) throws Exception {
    Commands.run(
        List.of(
            "/bin/sh",
            "-c",
            "dd if=/dev/zero of=/swap bs=1M count=128 2> /dev/null && chmod 600 /swap"
                + " && mkswap -q /swap && swapon /swap"));
    try {
      PodSandboxConfig pod = InstalledPods.pod("swapped").build();
      String podId = pods.run(pod, "runc");
      LinuxContainerResources little =
          LinuxContainerResources.newBuilder()
              .setMemoryLimitInBytes(24 * MIB)
              .setMemorySwapLimitInBytes(88 * MIB)
              .build();
      String id =
          pods.started(
              podId,
              pod,
              InstalledPods.container(
                  "main",
                  List.of(
                      "sh",
                      "-c",
                      "dd if=/dev/zero of=/dev/shm/held bs=1M count=40; sleep 3600 & wait"),
                  little));
      var kernel = new KernelCounters(InstalledPods.pid(id));
      Await.until(
          "some of it is on the swap",
          InstalledBerth.PATIENCE,
          () -> Long.parseLong(kernel.file("memory.swap.current")) > 16 * MIB);
      ContainerStats stats =
          unmoved(
              () -> List.of(kernel.file("memory.swap.current"), kernel.file("memory.current")),
              () -> stats(id));
      long swapped = Long.parseLong(kernel.file("memory.swap.current"));
      assertThat(stats.getSwap().getSwapUsageBytes().getValue()).isEqualTo(swapped);
      assertThat(stats.getSwap().getSwapAvailableBytes().getValue()).isEqualTo(64 * MIB - swapped);
      assertThat(value(metrics().getContainerMetrics(0).getMetricsList(), "container_memory_swap"))
          .isGreaterThan(16 * MIB);
    } finally {
      pods.removeAll(test);
      Commands.run(List.of("/bin/sh", "-c", "swapoff /swap && rm /swap"));
    }
  }

  private static long value(List<Metric> metrics, String name) {
    return metrics.stream()
        .filter(metric -> metric.getName().equals(name))
        .findFirst()
        .orElseThrow(() -> new AssertionError("no " + name))
        .getValue()
        .getValue();
  }
}
