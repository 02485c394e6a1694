package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.Container;
import io.berth.cri.v1.ContainerAttributes;
import io.berth.cri.v1.ContainerMetadata;
import io.berth.cri.v1.ContainerStats;
import io.berth.cri.v1.CpuUsage;
import io.berth.cri.v1.FilesystemUsage;
import io.berth.cri.v1.LinuxPodSandboxStats;
import io.berth.cri.v1.MemoryUsage;
import io.berth.cri.v1.PodSandboxAttributes;
import io.berth.cri.v1.PodSandboxMetadata;
import io.berth.cri.v1.PodSandboxStats;
import io.berth.cri.v1.ProcessUsage;
import io.berth.cri.v1.UInt64Value;
import java.util.List;
import org.junit.jupiter.api.Test;

class UsageTest {
  private static UInt64Value number(long value) {
    return UInt64Value.newBuilder().setValue(value).build();
  }

  private static CpuUsage cpu(long seconds, long usedNanos) {
    return CpuUsage.newBuilder()
        .setTimestamp(seconds * 1_000_000_000)
        .setUsageCoreNanoSeconds(number(usedNanos))
        .build();
  }

  private static PodSandboxStats pod(String name, CpuUsage cpu, ContainerStats... containers) {
    return PodSandboxStats.newBuilder()
        .setAttributes(
            PodSandboxAttributes.newBuilder()
                .setId("id-of-" + name)
                .setMetadata(PodSandboxMetadata.newBuilder().setName(name).setNamespace("ns")))
        .setLinux(
            LinuxPodSandboxStats.newBuilder()
                .setCpu(cpu)
                .setProcess(ProcessUsage.newBuilder().setProcessCount(number(3)))
                .addAllContainers(List.of(containers)))
        .build();
  }

  private static ContainerStats container(String name, CpuUsage cpu) {
    return ContainerStats.newBuilder()
        .setAttributes(
            ContainerAttributes.newBuilder()
                .setId("id-of-" + name)
                .setMetadata(ContainerMetadata.newBuilder().setName(name)))
        .setCpu(cpu)
        .setMemory(MemoryUsage.newBuilder().setWorkingSetBytes(number(3 << 20)))
        .setWritableLayer(FilesystemUsage.newBuilder().setUsedBytes(number(2048)))
        .build();
  }

  private static Usage usage(int seconds, long busy) {
    return new Usage(
        List.of(
            pod("idle", cpu(seconds, 5)),
            pod("busy", cpu(seconds, busy), container("web", cpu(seconds, busy)))),
        List.of(
            Container.newBuilder()
                .setId("id-of-web")
                .setMetadata(ContainerMetadata.newBuilder().setName("web").setAttempt(2))
                .build()));
  }

  @Test
  void theBusiestPodComesFirstWithItsContainersAndUsageSinceTheEarlierTime() {
    assertThat(Usage.table(usage(12, 4_000_000_000L).rows(usage(10, 1_000_000_000L))))
        .containsExactly(
            "POD / CONTAINER  ID          CPU %   MEMORY  PIDS  RESTARTS   DISK  RECEIVED  SENT",
            "ns/busy          id-of-busy  150.0        -     3         2  2 KiB         -     -",
            "  web            id-of-web   150.0  3.0 MiB               2  2 KiB",
            "ns/idle          id-of-idle    0.0        -     3         0      -         -     -");
  }

  @Test
  void whatIsNotKnownIsLeftOutOfTheJson() {
    List<Usage.Row> rows = usage(10, 1).rows(null);
    assertThat(Usage.json(rows).get(0).toString())
        .isEqualTo(
            "{\"id\":\"id-of-busy\",\"pod_id\":\"id-of-busy\",\"pod\":\"ns/busy\",\"processes\":3,"
                + "\"restarts\":2,\"writable_layer_bytes\":2048}");
    assertThat(Usage.json(rows).get(1).get("memory_working_set_bytes").asLong()).isEqualTo(3 << 20);
  }

  @Test
  void aRowIsCalledByNameOrByTheBeginningOfAnId() {
    assertThat(usage(10, 1).rows(null))
        .filteredOn(row -> row.isCalled("busy"))
        .extracting(Usage.Row::id)
        .containsExactly("id-of-busy");
    assertThat(usage(10, 1).rows(null))
        .filteredOn(row -> row.isCalled("id-of-b"))
        .extracting(Usage.Row::name)
        .containsExactly("ns/busy", "web");
  }
}
