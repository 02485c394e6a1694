package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.ContainerEventResponse;
import io.berth.cri.v1.ContainerEventType;
import io.berth.cri.v1.ContainerMetadata;
import io.berth.cri.v1.ContainerState;
import io.berth.cri.v1.ContainerStatus;
import io.berth.cri.v1.ContainerStatusResponse;
import io.berth.cri.v1.CpuUsage;
import io.berth.cri.v1.PodSandboxMetadata;
import io.berth.cri.v1.PodSandboxStatus;
import io.berth.cri.v1.UInt64Value;
import org.junit.jupiter.api.Test;

class CriJsonTest {
  private static final ContainerStatus EXITED =
      ContainerStatus.newBuilder()
          .setId("c1")
          .setMetadata(ContainerMetadata.newBuilder().setName("web"))
          .setState(ContainerState.CONTAINER_EXITED)
          .setExitCode(137)
          .setReason("OOMKilled")
          .putLabels("app", "shop")
          .build();

  @Test
  void namesAreInCamelCaseAndInfoIsOpened() {
    var answer =
        ContainerStatusResponse.newBuilder()
            .setStatus(EXITED)
            .putInfo("pid", "17")
            .putInfo("info", "{\"runtimeSpec\":{\"ociVersion\":\"1.1.0\"}}")
            .putInfo("broken", "{");
    var json = CriJson.object(answer.build());
    assertThat(json.at("/status/exitCode").asInt()).isEqualTo(137);
    assertThat(json.at("/status/state").asText()).isEqualTo("CONTAINER_EXITED");
    assertThat(json.at("/status/labels/app").asText()).isEqualTo("shop");
    assertThat(json.at("/info/info/runtimeSpec/ociVersion").asText()).isEqualTo("1.1.0");
    assertThat(json.at("/info/broken").asText()).isEqualTo("{");
  }

  @Test
  void whatIsLeftOutStaysOut() {
    var cpu = CpuUsage.newBuilder().setUsageNanoCores(UInt64Value.newBuilder().setValue(0));
    assertThat(CriJson.line(cpu.build())).isEqualTo("{\"timestamp\":0,\"usageNanoCores\":0}");
  }

  @Test
  void theOutlineLeavesEmptyValuesOut() throws Exception {
    assertThat(
            CriJson.outline(
                "{\"a\":\"\",\"b\":{\"c\":1,\"d\":[]},\"e\":[\"x\",{\"f\":true,\"g\":\"h\"}]}"))
        .isEqualTo(
            """
            b:
              c: 1
            e:
              - x
              - f: true
                g: h
            """);
  }

  @Test
  void anEventIsALine() {
    var event =
        ContainerEventResponse.newBuilder()
            .setContainerId("c1")
            .setContainerEventType(ContainerEventType.CONTAINER_STOPPED_EVENT)
            .setCreatedAt(1_500_000_000)
            .setPodSandboxStatus(
                PodSandboxStatus.newBuilder()
                    .setId("p1")
                    .setMetadata(
                        PodSandboxMetadata.newBuilder().setName("front").setNamespace("shop")))
            .addContainersStatuses(EXITED);
    assertThat(EventsCommand.text(event.build()))
        .isEqualTo(
            "1970-01-01T00:00:01.500Z stopped container web of pod shop/front c1: exit code 137"
                + " (OOMKilled)");
    assertThat(EventsCommand.text(event.setContainerId("p1").build()))
        .isEqualTo("1970-01-01T00:00:01.500Z stopped pod shop/front p1");
  }
}
