package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.data.Percentage.withPercentage;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerMetrics;
import io.berth.cri.v1.ContainerStats;
import io.berth.cri.v1.ContainerStatsFilter;
import io.berth.cri.v1.ContainerStatsRequest;
import io.berth.cri.v1.ImageFsInfoRequest;
import io.berth.cri.v1.ListContainerStatsRequest;
import io.berth.cri.v1.ListMetricDescriptorsRequest;
import io.berth.cri.v1.ListPodSandboxMetricsRequest;
import io.berth.cri.v1.ListPodSandboxStatsRequest;
import io.berth.cri.v1.Metric;
import io.berth.cri.v1.MetricDescriptor;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.NamespaceOption;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PodSandboxMetrics;
import io.berth.cri.v1.PodSandboxStats;
import io.berth.cri.v1.PodSandboxStatsRequest;
import io.berth.cri.v1.StreamContainerStatsRequest;
import io.berth.cri.v1.StreamPodSandboxMetricsRequest;
import io.berth.cri.v1.StreamPodSandboxStatsRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.extension.ExtendWith;

/** What berthd says of pods and containers, against what the kernel and other tools say. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@TestMethodOrder(MethodOrderer.Random.class)
class StatsIT {
  private static final Duration SOON = Duration.ofSeconds(60);
  private static final long MIB = 1 << 20;
  private static final long SECOND = 1_000_000_000L;

  /** Of which the kernel tells nothing before the first block has moved. */
  private static final Pattern AFTER_IO =
      Pattern.compile("container_(fs_(reads|writes)|blkio_device_usage).*");

  private final BerthDaemon daemon;
  private final Crictl crictl;

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  StatsIT(DockerRegistry registry) throws Exception {
    daemon = BerthDaemon.with().registry(registry.address()).start();
    crictl = daemon.crictl();
  }

  @BeforeEach
  void imageIsThere() throws Exception {
    crictl.run("pull", Requests.BUSYBOX);
  }

  @AfterEach
  void nothingIsLeft() throws Exception {
    daemon.removePods();
    daemon.assertNothingLeft();
  }

  @AfterAll
  void end() throws Exception {
    daemon.close();
  }

  @Test
  void aBusyLoopUsesTheTimeThatTheKernelCounts() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "busy");
    String podId = crictl.runPod(pod);
    String container = crictl.start(podId, sh("loop", "while :; do :; done"), pod);
    KernelCounters kernel = kernel(container);

    long began = System.nanoTime();
    long cpuBefore = kernel.cpuNanos();
    ContainerStats first = stats(container);
    long cpuAfter = kernel.cpuNanos();
    long firstAnswered = System.nanoTime();
    assertThat(first.getCpu().getUsageCoreNanoSeconds().getValue()).isBetween(cpuBefore, cpuAfter);
    assertThat(first.getCpu().hasUsageNanoCores()).as("nothing to compare with").isFalse();

    Await.until("it has looped on", SOON, () -> kernel.cpuNanos() > cpuAfter + 2 * SECOND);
    long secondAsked = System.nanoTime();
    long laterBefore = kernel.cpuNanos();
    ContainerStats second = stats(container);
    long laterAfter = kernel.cpuNanos();
    long ended = System.nanoTime();
    assertThat(second.getCpu().getUsageCoreNanoSeconds().getValue())
        .isBetween(laterBefore, laterAfter);
    // The answers lie somewhere within their calls.
    double least = (double) (laterBefore - cpuAfter) / (ended - began);
    double most = (double) (laterAfter - cpuBefore) / (secondAsked - firstAnswered);
    assertThat((double) second.getCpu().getUsageNanoCores().getValue() / SECOND)
        .isBetween(0.95 * least, 1.05 * most);

    PodSandboxStats ofPod = podStats(podId);
    assertThat(ofPod.getLinux().getCpu().getUsageCoreNanoSeconds().getValue())
        .isGreaterThanOrEqualTo(laterAfter);
  }

  @Test
  void anAllocationIsToldFromAPageCacheReader() throws Exception {
    long size = 200 * MIB;
    Path volume = Files.createDirectory(daemon.folder().resolve("volume"));
    Path file = volume.resolve("read-me");
    dd("if=/dev/zero", "of=" + file, "bs=1M", "count=200", "conv=fsync");
    dd("of=" + file, "oflag=nocache", "conv=notrunc", "count=0"); // it is to be read from the disk
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "memory");
    String podId = crictl.runPod(pod);
    String allocator =
        crictl.start(
            podId,
            sh("allocator", "(head -c " + size + " /dev/zero; sleep 3600) | tail -c " + size),
            pod);
    ContainerConfig.Builder config =
        sh(
            "reader",
            // Read once: busybox's cat touches each page twice, and the kernel then keeps it.
            "dd if=/volume/read-me of=/dev/null bs=1M; echo read; sleep 3600");
    config.addMounts(Mount.newBuilder().setHostPath(volume.toString()).setContainerPath("/volume"));
    String reader = crictl.start(podId, config, pod);
    KernelCounters ofReader = kernel(reader);

    Await.until("it is read", SOON, () -> crictl.run("logs", reader).contains("read"));
    Await.until(
        "it is allocated",
        SOON,
        () -> stats(allocator).getMemory().getRssBytes().getValue() >= size);

    ContainerStats allocated = stats(allocator);
    assertThat(allocated.getMemory().getRssBytes().getValue()).isCloseTo(size, withPercentage(5));
    assertThat(allocated.getMemory().getWorkingSetBytes().getValue()).isGreaterThan(size);
    ContainerStats read = stats(reader);
    assertThat(read.getMemory().getUsageBytes().getValue())
        .isGreaterThan(size / 2) // what lies in the cache yet is the writer's
        .isCloseTo(ofReader.memory(), within(2 * MIB));
    assertThat(read.getMemory().getRssBytes().getValue())
        .isCloseTo(ofReader.anonymousMemory(), within(5 * MIB))
        .isLessThan(20 * MIB);
    assertThat(read.getMemory().getWorkingSetBytes().getValue())
        .as("what was read once can be dropped")
        .isCloseTo(ofReader.memory() - ofReader.inactiveFile(), within(2 * MIB))
        .isLessThan(50 * MIB);
    assertThat(podStats(podId).getLinux().getMemory().getUsageBytes().getValue())
        .as("the pod's own cgroup has both")
        .isGreaterThan(size + size / 2);
  }

  @Test
  void memoryUpToALimitIsAvailable() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "limited");
    ContainerConfig.Builder config = sleeper("main");
    config.getLinuxBuilder().getResourcesBuilder().setMemoryLimitInBytes(64 * MIB);
    String podId = crictl.runPod(pod);
    String limited = crictl.start(podId, config, pod);
    String unlimited = crictl.start(podId, sleeper("other"), pod);

    var memory = stats(limited).getMemory();
    assertThat(memory.getAvailableBytes().getValue() + memory.getWorkingSetBytes().getValue())
        .isEqualTo(64 * MIB);
    assertThat(stats(unlimited).getMemory().hasAvailableBytes()).isFalse();
  }

  @Test
  void trafficIsCountedInsideThePod() throws Exception {
    long size = 100 * MIB;
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "traffic");
    String podId = crictl.runPod(pod);
    String container = crictl.start(podId, sleeper("main"), pod);
    String machine = address(daemon.bridge());
    long before =
        podStats(podId).getLinux().getNetwork().getDefaultInterface().getRxBytes().getValue();
    long hostBefore = sentByTheMachine();

    try (var server = new ServerSocket(0, 1, InetAddress.getByName(machine))) {
      var sender = CompletableFuture.runAsync(() -> send(server, size));
      assertThat(
              crictl.run(
                  "exec",
                  "-s",
                  container,
                  "sh",
                  "-c",
                  "nc " + machine + " " + server.getLocalPort() + " < /dev/null | wc -c"))
          .isEqualTo(Long.toString(size));
      sender.join();
    }

    var network = podStats(podId).getLinux().getNetwork();
    assertThat(network.getTimestamp()).isPositive();
    assertThat(network.getDefaultInterface().getName()).isEqualTo("eth0");
    assertThat(network.getInterfacesList()).as("the loopback is none").isEmpty();
    long received = network.getDefaultInterface().getRxBytes().getValue() - before;
    assertThat(received).isCloseTo(sentByTheMachine() - hostBefore, withPercentage(1));
    assertThat(received).isBetween(size, size + size / 10); // headers come on top
    assertThat(value(metrics(podId).getMetricsList(), "container_network_receive_bytes_total"))
        .isGreaterThanOrEqualTo(before + received);
  }

  @Test
  void onTheMachinesNetworkThePodHasNone() throws Exception {
    NamespaceOption machine = Requests.ORDINARY.toBuilder().setNetwork(NamespaceMode.NODE).build();
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "on-the-machine", machine);
    String podId = crictl.runPod(pod);
    crictl.start(podId, Requests.container("main", Requests.BUSYBOX, Requests.SLEEP, machine), pod);

    assertThat(podStats(podId).getLinux().hasNetwork()).isFalse();
    assertThat(podStats(podId).getLinux().hasCpu()).isTrue();
    assertThat(metrics(podId).getMetricsList()).isEmpty();
  }

  @Test
  void aPodWithoutContainersHasItsNetworkAlready() throws Exception {
    String podId = crictl.runPod(Requests.pod(daemon, "empty"));

    assertThat(podStats(podId).getLinux().getNetwork().getDefaultInterface().getName())
        .isEqualTo("eth0");
    assertThat(podStats(podId).getLinux().getContainersList()).isEmpty();
  }

  @Test
  void writableLayersAreAsLargeAsDuSays() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "written");
    String podId = crictl.runPod(pod);
    String large =
        crictl.start(
            podId,
            sh("large", "dd if=/dev/zero of=/large bs=1M count=500; echo written; sleep 3600"),
            pod);
    String many =
        crictl.start(
            podId,
            sh(
                "many",
                "for d in 1 2 3 4 5 6 7 8 9; do mkdir /d$d; for f in $(seq 300); do echo $f > /d$d/$f;"
                    + " done; done; echo written; sleep 3600"),
            pod);

    String imageFileSystem =
        daemon
            .client()
            .images()
            .imageFsInfo(ImageFsInfoRequest.getDefaultInstance())
            .getImageFilesystems(0)
            .getFsId()
            .getMountpoint();
    for (String container : List.of(large, many)) {
      Await.until("it is written", SOON, () -> crictl.run("logs", container).contains("written"));
      Path upper = upper(container);
      Await.until(
          "its size is known within one percent",
          SOON,
          () -> {
            var layer = stats(container).getWritableLayer();
            long inodes = du(upper, "--inodes") - 1; // du counts the folder itself
            return withinOnePercent(layer.getUsedBytes().getValue(), du(upper, "-B1"))
                && withinOnePercent(layer.getInodesUsed().getValue(), inodes);
          });
      assertThat(stats(container).getWritableLayer().getFsId().getMountpoint())
          .isEqualTo(imageFileSystem);
      assertThat(stats(container).getWritableLayer().getTimestamp()).isPositive();
    }
    assertThat(stats(large).getWritableLayer().getUsedBytes().getValue())
        .isCloseTo(500 * MIB, withPercentage(1));
    assertThat(stats(many).getWritableLayer().getInodesUsed().getValue())
        .isGreaterThanOrEqualTo(9 * 301);
    assertThat(value(ofContainer(podId, large).getMetricsList(), "container_fs_usage_bytes"))
        .isCloseTo(500 * MIB, withPercentage(1));
  }

  @Test
  void anEndedContainerHasItsLayerAndNothingElse() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "ended");
    String podId = crictl.runPod(pod);
    String ended = crictl.start(podId, sh("ended", "echo x > /x"), pod);
    String created = crictl.create(podId, sleeper("created"), pod);
    Await.until(
        "it has ended",
        SOON,
        () -> crictl.run("ps", "-a", "-q", "--no-trunc", "--state", "exited").equals(ended));

    assertThat(stats(ended).getAttributes().getId()).isEqualTo(ended);
    assertThat(stats(ended).hasCpu() || stats(ended).hasMemory()).isFalse();
    assertThat(stats(ended).getWritableLayer().getUsedBytes().getValue()).isPositive();
    assertThat(stats(created).getAttributes().getId()).isEqualTo(created);
    assertThat(listed(ContainerStatsFilter.getDefaultInstance())).isEmpty();
  }

  @Test
  void podsThatArentReadyOrUnknownHaveNoStats() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "stopped");
    String podId = crictl.runPod(pod);
    crictl.run("stopp", podId);

    assertThatThrownBy(() -> podStats(podId)).satisfies(hasCode(Status.Code.FAILED_PRECONDITION));
    assertThatThrownBy(() -> podStats("f00")).satisfies(hasCode(Status.Code.NOT_FOUND));
    assertThatThrownBy(() -> stats("f00")).satisfies(hasCode(Status.Code.NOT_FOUND));
    assertThat(allPodStats()).isEmpty();
    assertThat(allMetrics()).isEmpty();
  }

  @Test
  void filtersAreAndedAndPrefixesAreIds() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "filtered").putLabels("tier", "web");
    String podId = crictl.runPod(pod);
    String one = crictl.start(podId, sleeper("one").putLabels("app", "one"), pod);
    String two = crictl.start(podId, sleeper("two").putLabels("app", "two"), pod);

    assertThat(listed(ContainerStatsFilter.getDefaultInstance()))
        .containsExactlyInAnyOrder(one, two);
    assertThat(listed(ContainerStatsFilter.newBuilder().putLabelSelector("app", "one").build()))
        .containsExactly(one);
    assertThat(
            listed(
                ContainerStatsFilter.newBuilder()
                    .setId(two.substring(0, 12))
                    .setPodSandboxId(podId)
                    .build()))
        .containsExactly(two);
    assertThat(
            listed(
                ContainerStatsFilter.newBuilder()
                    .setId(two)
                    .putLabelSelector("app", "one")
                    .build()))
        .isEmpty();
    assertThat(crictl.json("statsp", "--label", "tier=web").get("stats")).hasSize(1);
    assertThat(crictl.json("statsp", "--label", "tier=db").path("stats")).isEmpty();
  }

  @Test
  void streamsTellWhatListsTell() throws Exception {
    var runtime = daemon.client().runtime();
    assertThat(all(runtime.streamContainerStats(StreamContainerStatsRequest.getDefaultInstance())))
        .as("nothing is no message")
        .isEmpty();
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "streamed");
    String podId = crictl.runPod(pod);
    String container = crictl.start(podId, sleeper("main"), pod);

    assertThat(all(runtime.streamContainerStats(StreamContainerStatsRequest.getDefaultInstance())))
        .singleElement()
        .satisfies(message ->
            assertThat(message.getContainerStatsList())
                .extracting(stats -> stats.getAttributes().getId())
                .containsExactly(container));
    assertThat(
            all(runtime.streamPodSandboxStats(StreamPodSandboxStatsRequest.getDefaultInstance())))
        .singleElement()
        .satisfies(message ->
            assertThat(message.getPodSandboxStatsList())
                .extracting(stats -> stats.getAttributes().getId())
                .containsExactly(podId));
    assertThat(
            all(
                runtime.streamPodSandboxMetrics(
                    StreamPodSandboxMetricsRequest.getDefaultInstance())))
        .singleElement()
        .satisfies(message ->
            assertThat(names(message.getPodSandboxMetrics(0))).isEqualTo(names(metrics(podId))));
  }

  @Test
  void eachMetricThatIsOfferedIsToldWithItsLabels() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "measured");
    ContainerConfig.Builder config =
        sh(
            "main",
            "dd if=/dev/zero of=/x bs=64k count=16 conv=fsync; echo written; sleep 3600 & wait");
    config
        .getLinuxBuilder()
        .getResourcesBuilder()
        .setCpuPeriod(100_000)
        .setCpuQuota(50_000)
        .setMemoryLimitInBytes(64 * MIB);
    String podId = crictl.runPod(pod);
    String container = crictl.start(podId, config, pod);
    Await.until("it is written", SOON, () -> crictl.run("logs", container).contains("written"));

    Map<String, MetricDescriptor> offered =
        daemon
            .client()
            .runtime()
            .listMetricDescriptors(ListMetricDescriptorsRequest.getDefaultInstance())
            .getDescriptorsList()
            .stream()
            .collect(Collectors.toMap(MetricDescriptor::getName, Function.identity()));
    PodSandboxMetrics told = metrics(podId);
    Set<String> missing = new HashSet<>(offered.keySet());
    missing.removeAll(names(told));
    assertThat(missing).filteredOn(name -> !AFTER_IO.matcher(name).matches()).isEmpty();
    assertThat(offered.keySet()).containsAll(names(told)).contains("container_threads");
    ContainerMetrics ofContainer = ofContainer(podId, container);
    for (Metric metric :
        Stream.concat(told.getMetricsList().stream(), ofContainer.getMetricsList().stream())
            .toList()) {
      MetricDescriptor descriptor = Objects.requireNonNull(offered.get(metric.getName()));
      assertThat(metric.getLabelValuesList())
          .as(metric.getName())
          .hasSameSizeAs(descriptor.getLabelKeysList());
      assertThat(label(descriptor, metric, "pod")).isEqualTo("measured");
      assertThat(label(descriptor, metric, "namespace")).isEqualTo("e2e");
      boolean network = metric.getName().startsWith("container_network_");
      assertThat(label(descriptor, metric, "container")).isEqualTo(network ? "" : "main");
      assertThat(label(descriptor, metric, "image")).isEqualTo(network ? "" : Requests.BUSYBOX);
      assertThat(label(descriptor, metric, "id")).isEqualTo(network ? podId : container);
    }
    assertThat(ofContainer.getMetricsList())
        .as("each series once")
        .extracting(metric -> metric.getName() + metric.getLabelValuesList())
        .doesNotHaveDuplicates();
    assertThat(value(ofContainer.getMetricsList(), "container_spec_cpu_quota")).isEqualTo(50_000);
    assertThat(value(ofContainer.getMetricsList(), "container_spec_memory_limit_bytes"))
        .isEqualTo(64 * MIB);
    assertThat(value(ofContainer.getMetricsList(), "container_processes")).isEqualTo(2);
    assertThat(value(ofContainer.getMetricsList(), "container_threads")).isEqualTo(2);
    assertThat(value(ofContainer.getMetricsList(), "container_file_descriptors"))
        .isEqualTo(descriptors(container));
  }

  @Test
  void removedPodsLeaveNoSeries() throws Exception {
    PodSandboxConfig.Builder lasting = Requests.pod(daemon, "lasting");
    String lastingId = crictl.runPod(lasting);
    crictl.start(lastingId, sleeper("main"), lasting);
    int series = series();
    for (int i = 0; i < 3; i++) {
      PodSandboxConfig.Builder pod = Requests.pod(daemon, "brief-" + i);
      String podId = crictl.runPod(pod);
      crictl.start(podId, sleeper("main"), pod);
      assertThat(series()).isGreaterThan(series);
      crictl.run("rmp", "--force", podId);
      assertThat(series()).isEqualTo(series);
    }
  }

  @Test
  void containersThatVanishWhileTheyAreReadAreLeftOut() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "lasting");
    String podId = crictl.runPod(pod);
    String lasting = crictl.start(podId, sleeper("lasting"), pod);
    var stop = new AtomicBoolean();
    var asked = new CountDownLatch(1);
    var reader =
        CompletableFuture.runAsync(() -> {
          while (!stop.get()) {
            assertThat(listed(ContainerStatsFilter.getDefaultInstance())).contains(lasting);
            assertThat(allPodStats())
                .extracting(stats -> stats.getAttributes().getId())
                .contains(podId);
            assertThat(allMetrics()).extracting(PodSandboxMetrics::getPodSandboxId).contains(podId);
            asked.countDown();
          }
        });
    try {
      for (int i = 0; i < 5; i++) {
        PodSandboxConfig.Builder brief = Requests.pod(daemon, "brief-" + i);
        String briefId = crictl.runPod(brief);
        crictl.start(briefId, sh("ends", "exit 0"), brief);
        crictl.start(briefId, sleeper("stays"), brief);
        crictl.run("rmp", "--force", briefId);
      }
      assertThat(asked.await(SOON.toSeconds(), TimeUnit.SECONDS)).isTrue();
    } finally {
      stop.set(true);
    }
    reader.join();
  }

  @Test
  void crictlShowsThem() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "shown");
    String podId = crictl.runPod(pod);
    String container = crictl.start(podId, sleeper("main"), pod);

    assertThat(crictl.run("stats")).contains(container.substring(0, 13), "main");
    assertThat(crictl.run("statsp")).contains(podId.substring(0, 13), "shown");
    JsonNode descriptors = crictl.json("metricdescs").get("descriptors");
    assertThat(StreamSupport.stream(descriptors.spliterator(), false))
        .extracting(descriptor -> descriptor.get("name").asText())
        .contains("container_cpu_usage_seconds_total", "container_memory_working_set_bytes");
    JsonNode metrics = crictl.json("metricsp").get("podMetrics");
    assertThat(metrics).hasSize(1);
    assertThat(metrics.at("/0/podSandboxId").asText()).isEqualTo(podId);
    assertThat(metrics.at("/0/containerMetrics/0/containerId").asText()).isEqualTo(container);
  }

  private static ContainerConfig.Builder sh(String name, String script) {
    return Requests.container(name, Requests.BUSYBOX, List.of("sh", "-c", script));
  }

  private static ContainerConfig.Builder sleeper(String name) {
    return Requests.container(name, Requests.BUSYBOX, Requests.SLEEP);
  }

  private KernelCounters kernel(String container) throws InterruptedException {
    return new KernelCounters(pid(container));
  }

  private long pid(String container) throws InterruptedException {
    return crictl.json("inspect", container).at("/info/pid").asLong();
  }

  /** Of all processes in the container, as /proc tells them. */
  private long descriptors(String container) throws IOException, InterruptedException {
    long count = 0;
    for (String pid : kernel(container).processes()) {
      count += Leftovers.entries(Path.of("/proc", pid, "fd")).size();
    }
    return count;
  }

  private ContainerStats stats(String container) {
    return daemon
        .client()
        .runtime()
        .containerStats(ContainerStatsRequest.newBuilder().setContainerId(container).build())
        .getStats();
  }

  private List<String> listed(ContainerStatsFilter filter) {
    return daemon
        .client()
        .runtime()
        .listContainerStats(ListContainerStatsRequest.newBuilder().setFilter(filter).build())
        .getStatsList()
        .stream()
        .map(stats -> stats.getAttributes().getId())
        .toList();
  }

  private PodSandboxStats podStats(String podId) {
    return daemon
        .client()
        .runtime()
        .podSandboxStats(PodSandboxStatsRequest.newBuilder().setPodSandboxId(podId).build())
        .getStats();
  }

  private List<PodSandboxStats> allPodStats() {
    return daemon
        .client()
        .runtime()
        .listPodSandboxStats(ListPodSandboxStatsRequest.getDefaultInstance())
        .getStatsList();
  }

  private List<PodSandboxMetrics> allMetrics() {
    return daemon
        .client()
        .runtime()
        .listPodSandboxMetrics(ListPodSandboxMetricsRequest.getDefaultInstance())
        .getPodMetricsList();
  }

  private int series() {
    return allMetrics().stream()
        .mapToInt(pod ->
            pod.getMetricsCount()
                + pod.getContainerMetricsList().stream()
                    .mapToInt(ContainerMetrics::getMetricsCount)
                    .sum())
        .sum();
  }

  private PodSandboxMetrics metrics(String podId) {
    return allMetrics().stream()
        .filter(pod -> pod.getPodSandboxId().equals(podId))
        .findFirst()
        .orElseThrow();
  }

  private ContainerMetrics ofContainer(String podId, String container) {
    return metrics(podId).getContainerMetricsList().stream()
        .filter(metrics -> metrics.getContainerId().equals(container))
        .findFirst()
        .orElseThrow();
  }

  private static Set<String> names(PodSandboxMetrics pod) {
    return Stream.concat(
            pod.getMetricsList().stream(),
            pod.getContainerMetricsList().stream()
                .map(ContainerMetrics::getMetricsList)
                .flatMap(Collection::stream))
        .map(Metric::getName)
        .collect(Collectors.toSet());
  }

  private static long value(List<Metric> metrics, String name) {
    return metrics.stream()
        .filter(metric -> metric.getName().equals(name))
        .findFirst()
        .orElseThrow(() -> new AssertionError("no " + name))
        .getValue()
        .getValue();
  }

  private static String label(MetricDescriptor descriptor, Metric metric, String key) {
    return metric.getLabelValues(descriptor.getLabelKeysList().indexOf(key));
  }

  private static <T> List<T> all(Iterator<T> stream) {
    var messages = new ArrayList<T>();
    stream.forEachRemaining(messages::add);
    return messages;
  }

  private static java.util.function.Consumer<Throwable> hasCode(Status.Code code) {
    return failure ->
        assertThat(failure)
            .isInstanceOfSatisfying(
                StatusRuntimeException.class,
                e -> assertThat(e.getStatus().getCode()).isEqualTo(code));
  }

  private static void dd(String... arguments) throws InterruptedException {
    var command = new ArrayList<>(List.of(TestTools.installed("dd", "coreutils").toString()));
    command.addAll(List.of(arguments));
    Commands.run(command);
  }

  private static String address(String bridge) throws InterruptedException {
    String line =
        Commands.run(
            List.of(
                TestTools.installed("ip", "iproute2").toString(),
                "-o",
                "-4",
                "addr",
                "show",
                "dev",
                bridge));
    return line.replaceAll("(?s).* inet ([0-9.]+)/.*", "$1");
  }

  /** By the ends of the pods' cables on this side. */
  private long sentByTheMachine() throws IOException {
    long sum = 0;
    for (Path port : Leftovers.entries(Path.of("/sys/class/net", daemon.bridge(), "brif"))) {
      Path cable = Path.of("/sys/class/net").resolve(port.getFileName());
      sum += Long.parseLong(Files.readString(cable.resolve("statistics/tx_bytes")).strip());
    }
    return sum;
  }

  private static void send(ServerSocket server, long size) {
    byte[] block = new byte[(int) MIB];
    try (Socket peer = server.accept();
        OutputStream out = peer.getOutputStream()) {
      for (long sent = 0; sent < size; sent += block.length) {
        out.write(block);
      }
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private Path upper(String container) throws IOException, InterruptedException {
    String options =
        Files.readAllLines(Path.of("/proc", Long.toString(pid(container)), "mountinfo")).stream()
            .filter(line -> line.contains(" / / ") && line.contains(" overlay "))
            .findFirst()
            .orElseThrow();
    return Path.of(options.replaceAll(".*upperdir=([^,]+).*", "$1"));
  }

  private static boolean withinOnePercent(long value, long other) {
    return Math.abs(value - other) * 100 <= other;
  }

  private static long du(Path folder, String unit) throws InterruptedException {
    String answer =
        Commands.run(
            List.of(
                TestTools.installed("du", "coreutils").toString(), "-s", unit, folder.toString()));
    return Long.parseLong(answer.split("\\s")[0]);
  }
}
