package io.berth.runtime;

import io.berth.cri.v1.ContainerAttributes;
import io.berth.cri.v1.ContainerMetadata;
import io.berth.cri.v1.ContainerStats;
import io.berth.cri.v1.CpuUsage;
import io.berth.cri.v1.FilesystemIdentifier;
import io.berth.cri.v1.FilesystemUsage;
import io.berth.cri.v1.IoUsage;
import io.berth.cri.v1.LinuxPodSandboxStats;
import io.berth.cri.v1.MemoryUsage;
import io.berth.cri.v1.NetworkInterfaceUsage;
import io.berth.cri.v1.NetworkUsage;
import io.berth.cri.v1.PodSandboxAttributes;
import io.berth.cri.v1.PodSandboxMetadata;
import io.berth.cri.v1.PodSandboxStats;
import io.berth.cri.v1.ProcessUsage;
import io.berth.cri.v1.PsiData;
import io.berth.cri.v1.PsiStats;
import io.berth.cri.v1.SwapUsage;
import io.berth.cri.v1.UInt64Value;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxName;
import io.berth.stats.CgroupUsage;
import io.berth.stats.InterfaceCounters;
import io.berth.stats.Pressure;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.OptionalLong;
import java.util.function.Consumer;

/** From usage to CRI's messages; what isn't known is left out. */
final class StatsGrpcAnswers {
  private final Path storePath;

  /**
   * @param storePath names the file system, as ImageFsInfo does
   */
  StatsGrpcAnswers(Path storePath) {
    this.storePath = storePath;
  }

  ContainerStats container(UsageReports.OfContainer usage) {
    Container container = usage.container();
    ContainerStats.Builder stats =
        ContainerStats.newBuilder()
            .setAttributes(
                ContainerAttributes.newBuilder()
                    .setId(container.id().value())
                    .setMetadata(
                        ContainerMetadata.newBuilder()
                            .setName(container.config().name())
                            .setAttempt(container.config().attempt()))
                    .putAllLabels(container.config().labels())
                    .putAllAnnotations(container.config().annotations()));
    usage
        .cgroup()
        .ifPresent(cgroup -> {
          stats.setCpu(cpu(cgroup)).setMemory(memory(cgroup));
          if (cgroup.swap().isPresent()) {
            SwapUsage.Builder swap = SwapUsage.newBuilder().setTimestamp(cgroup.at());
            set(cgroup.swap(), swap::setSwapUsageBytes);
            set(cgroup.swapAvailable(), swap::setSwapAvailableBytes);
            stats.setSwap(swap);
          }
          if (cgroup.ioPressure() != null) {
            stats.setIo(io(cgroup.at(), cgroup.ioPressure()));
          }
        });
    usage
        .layer()
        .ifPresent(layer ->
            stats.setWritableLayer(
                FilesystemUsage.newBuilder()
                    .setTimestamp(layer.at())
                    .setFsId(FilesystemIdentifier.newBuilder().setMountpoint(storePath.toString()))
                    .setUsedBytes(value(layer.value().bytes()))
                    .setInodesUsed(value(layer.value().inodes()))));
    return stats.build();
  }

  PodSandboxStats pod(UsageReports.OfPod usage) {
    Sandbox sandbox = usage.sandbox();
    SandboxName name = sandbox.name();
    LinuxPodSandboxStats.Builder stats = LinuxPodSandboxStats.newBuilder();
    usage
        .cgroup()
        .ifPresent(cgroup -> {
          stats.setCpu(cpu(cgroup)).setMemory(memory(cgroup));
          ProcessUsage.Builder processes = ProcessUsage.newBuilder().setTimestamp(cgroup.at());
          set(cgroup.tasks(), processes::setProcessCount);
          stats.setProcess(processes);
          if (cgroup.ioPressure() != null) {
            stats.setIo(io(cgroup.at(), cgroup.ioPressure()));
          }
        });
    List<InterfaceCounters> network = usage.network();
    if (network != null && !network.isEmpty()) {
      stats.setNetwork(
          NetworkUsage.newBuilder()
              .setTimestamp(ExitWatch.nanos(Instant.now()))
              .setDefaultInterface(network(network.getFirst()))
              .addAllInterfaces(network.stream().skip(1).map(StatsGrpcAnswers::network).toList()));
    }
    usage.containers().forEach(container -> stats.addContainers(container(container)));
    return PodSandboxStats.newBuilder()
        .setAttributes(
            PodSandboxAttributes.newBuilder()
                .setId(sandbox.id().value())
                .setMetadata(
                    PodSandboxMetadata.newBuilder()
                        .setName(name.name())
                        .setNamespace(name.namespace())
                        .setUid(name.uid())
                        .setAttempt(name.attempt()))
                .putAllLabels(sandbox.config().labels())
                .putAllAnnotations(sandbox.config().annotations()))
        .setLinux(stats)
        .build();
  }

  private static CpuUsage cpu(CgroupUsage usage) {
    CpuUsage.Builder cpu = CpuUsage.newBuilder().setTimestamp(usage.at());
    set(usage.cpuNanos(), cpu::setUsageCoreNanoSeconds);
    set(usage.nanoCores(), cpu::setUsageNanoCores);
    if (usage.cpuPressure() != null) {
      cpu.setPsi(pressure(usage.cpuPressure()));
    }
    return cpu.build();
  }

  private static MemoryUsage memory(CgroupUsage usage) {
    MemoryUsage.Builder memory = MemoryUsage.newBuilder().setTimestamp(usage.at());
    set(usage.memory(), memory::setUsageBytes);
    set(usage.workingSet(), memory::setWorkingSetBytes);
    set(usage.available(), memory::setAvailableBytes);
    set(usage.rss(), memory::setRssBytes);
    set(usage.pageFaults(), memory::setPageFaults);
    set(usage.majorPageFaults(), memory::setMajorPageFaults);
    if (usage.memoryPressure() != null) {
      memory.setPsi(pressure(usage.memoryPressure()));
    }
    return memory.build();
  }

  private static IoUsage io(long at, Pressure pressure) {
    return IoUsage.newBuilder().setTimestamp(at).setPsi(pressure(pressure)).build();
  }

  private static PsiStats pressure(Pressure pressure) {
    PsiStats.Builder stats = PsiStats.newBuilder().setSome(share(pressure.some()));
    Pressure.Share full = pressure.full();
    if (full != null) {
      stats.setFull(share(full));
    }
    return stats.build();
  }

  private static PsiData share(Pressure.Share share) {
    return PsiData.newBuilder()
        .setTotal(share.totalNanos())
        .setAvg10(share.avg10())
        .setAvg60(share.avg60())
        .setAvg300(share.avg300())
        .build();
  }

  private static NetworkInterfaceUsage network(InterfaceCounters counters) {
    return NetworkInterfaceUsage.newBuilder()
        .setName(counters.name())
        .setRxBytes(value(counters.received().bytes()))
        .setRxErrors(value(counters.received().errors()))
        .setTxBytes(value(counters.transmitted().bytes()))
        .setTxErrors(value(counters.transmitted().errors()))
        .build();
  }

  private static void set(OptionalLong value, Consumer<UInt64Value> field) {
    value.ifPresent(v -> field.accept(value(v)));
  }

  private static UInt64Value value(long v) {
    return UInt64Value.newBuilder().setValue(v).build();
  }
}
