package io.berth.runtime;

import io.berth.linux.KernelFile;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxId;
import io.berth.sandbox.SandboxLayout;
import io.berth.sandbox.SandboxState;
import io.berth.sandbox.SandboxStore;
import io.berth.snapshot.Snapshotter;
import io.berth.snapshot.Usage;
import io.berth.stats.CgroupStats;
import io.berth.stats.CgroupUsage;
import io.berth.stats.ContainerMetrics;
import io.berth.stats.CostlyCounts;
import io.berth.stats.InterfaceCounters;
import io.berth.stats.Metric;
import io.berth.stats.MetricSink;
import io.berth.stats.NetworkStats;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What containers and pods use, in one pass over those that are there. One that goes meanwhile is
 * left out: it is no error that it has ended.
 */
final class UsageReports implements AutoCloseable {
  /** Files of a writable layer that are counted while somebody waits. */
  private static final long SMALL_LAYER = 300;

  private final SandboxStore sandboxes;
  private final ContainerStore containers;
  private final SandboxLayout layout;
  private final CgroupStats cgroups;
  private final ContainerMetrics metrics;
  private final CostlyCounts<Usage> layers;

  UsageReports(
      SandboxStore sandboxes,
      ContainerStore containers,
      SandboxLayout layout,
      CgroupStats cgroups,
      ContainerMetrics metrics,
      Snapshotter snapshotter) {
    this.sandboxes = sandboxes;
    this.containers = containers;
    this.layout = layout;
    this.cgroups = cgroups;
    this.metrics = metrics;
    this.layers = new CostlyCounts<>("count layers", SMALL_LAYER, snapshotter::usage);
  }

  /**
   * A container's.
   *
   * @param cgroup absent when nothing of it runs
   * @param layer what was written into its root file system; absent while it is first counted
   */
  record OfContainer(
      Container container,
      Optional<CgroupUsage> cgroup,
      Optional<CostlyCounts.Counted<Usage>> layer) {}

  /**
   * A pod's.
   *
   * @param cgroup that of the pod itself; absent as long as nothing has run in it
   * @param network null on the network of the machine
   * @param containers those that run
   */
  record OfPod(
      Sandbox sandbox,
      Optional<CgroupUsage> cgroup,
      @Nullable List<InterfaceCounters> network,
      List<OfContainer> containers) {}

  /**
   * @throws ContainerException NOT_FOUND; INVALID for an ambiguous id
   */
  OfContainer container(String idOrPrefix) {
    return read(new KernelFile(), containers.get(idOrPrefix));
  }

  /** Of those that run. */
  List<OfContainer> containers(Predicate<Container> wanted) {
    var file = new KernelFile();
    return running(containers.list().stream().filter(wanted), file);
  }

  private List<OfContainer> running(Stream<Container> some, KernelFile file) {
    return some.filter(c -> c.state() == ContainerState.RUNNING)
        .map(c -> read(file, c))
        .filter(usage -> usage.cgroup().isPresent())
        .toList();
  }

  private OfContainer read(KernelFile file, Container container) {
    return new OfContainer(
        container,
        container.state().live()
            ? cgroups.usage(file, container.cgroup(), container.update())
            : Optional.empty(),
        layers.get(container.id().value()));
  }

  /**
   * @throws io.berth.sandbox.SandboxException NOT_FOUND; NOT_READY; INVALID for an ambiguous id
   */
  OfPod pod(String idOrPrefix) {
    return read(List.of(sandboxes.getReady(idOrPrefix))).getFirst();
  }

  /** Of those that are ready. */
  List<OfPod> pods(Predicate<Sandbox> wanted) {
    return read(ready(wanted));
  }

  private List<Sandbox> ready(Predicate<Sandbox> wanted) {
    return sandboxes.list().stream()
        .filter(s -> s.state() == SandboxState.READY)
        .filter(wanted)
        .toList();
  }

  private List<OfPod> read(List<Sandbox> pods) {
    var file = new KernelFile();
    return look(pods).stream()
        .map(pod ->
            new OfPod(
                pod.sandbox(),
                cgroups.usage(file, pod.sandbox().cgroup().path(), pod.sandbox().config()),
                pod.network(),
                running(pod.members().stream(), file)))
        .toList();
  }

  private record Pod(
      Sandbox sandbox, @Nullable List<InterfaceCounters> network, List<Container> members) {}

  private List<Pod> look(List<Sandbox> pods) {
    Map<SandboxId, List<InterfaceCounters>> networks = networks(pods);
    Map<SandboxId, List<Container>> members = new HashMap<>();
    for (Container container : containers.list()) {
      members.computeIfAbsent(container.sandboxId(), _ -> new ArrayList<>()).add(container);
    }
    return pods.stream()
        .map(pod -> new Pod(pod, networks.get(pod.id()), members.getOrDefault(pod.id(), List.of())))
        .toList();
  }

  /** Reads the networks of all pods at once. */
  private Map<SandboxId, List<InterfaceCounters>> networks(List<Sandbox> pods) {
    List<SandboxId> ids = new ArrayList<>();
    List<Path> pins = new ArrayList<>();
    for (Sandbox pod : pods) {
      Path pin = layout.network(pod);
      if (pin != null) {
        ids.add(pod.id());
        pins.add(pin);
      }
    }
    List<List<InterfaceCounters>> read = NetworkStats.read(pins);
    Map<SandboxId, List<InterfaceCounters>> networks = new HashMap<>();
    for (int i = 0; i < ids.size(); i++) {
      networks.put(ids.get(i), read.get(i));
    }
    return networks;
  }

  /** The metrics that this machine can tell. */
  List<Metric> metrics() {
    return metrics.offered();
  }

  /** Is told whose metrics come next. */
  interface PodSink {
    /** Takes those of the pod itself. */
    MetricSink pod(Sandbox sandbox);

    /** Takes those of a container of that pod. */
    MetricSink container(Container container);
  }

  /** Tells the metrics of all pods that are ready, and of their containers that run. */
  void metrics(PodSink sink) {
    var file = new KernelFile();
    ContainerMetrics.Disk disk = metrics.disk();
    for (Pod pod : look(ready(_ -> true))) {
      MetricSink ofPod = sink.pod(pod.sandbox());
      if (pod.network() != null) {
        metrics.pod(pod.network(), ofPod);
      }
      for (Container container : pod.members()) {
        if (container.state() == ContainerState.RUNNING) {
          metrics.container(
              file,
              container.cgroup(),
              container.update(),
              container.startedAt(),
              layers
                  .get(container.id().value())
                  .map(layer -> OptionalLong.of(layer.value().bytes()))
                  .orElse(OptionalLong.empty()),
              disk,
              sink.container(container));
        }
      }
    }
  }

  @Override
  public void close() {
    layers.close();
    metrics.close();
    cgroups.close();
  }
}
