package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.ContainerFilter;
import io.berth.cri.v1.ListContainersResponse;
import io.berth.cri.v1.ListPodSandboxResponse;
import io.berth.cri.v1.PodSandboxFilter;
import io.berth.linux.CgroupDriver;
import io.berth.linux.RecordFolder;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxSettings;
import io.berth.sandbox.SandboxStore;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ListGrpcAnswersTest {
  @TempDir Path folder;
  private SandboxStore sandboxes;
  private ContainerStore containers;
  private ListGrpcAnswers lists;

  @BeforeEach
  void aPodWithTwoContainers() throws Exception {
    Sandbox pod = new RequestFixture().request().sandbox();
    new RecordFolder<>(folder.resolve("sandboxes"), Sandbox.class, 1).write(pod.id().value(), pod);
    sandboxes =
        new SandboxStore(
            SandboxSettings.of(folder, folder, CgroupDriver.CGROUPFS, Duration.ofMinutes(1)));
    containers = new ContainerStore(folder.resolve("containers"));
    containers.create(Containers.of(Containers.id("a"), "one", ContainerState.CREATED));
    containers.create(Containers.of(Containers.id("b"), "two", ContainerState.CREATED));
    lists = new ListGrpcAnswers(sandboxes, containers);
  }

  /** As a client reads it. */
  private ListContainersResponse listed() throws Exception {
    var answer =
        ListContainersResponse.newBuilder()
            .setUnknownFields(
                WireGrpcItems.field(
                    ListContainersResponse.CONTAINERS_FIELD_NUMBER,
                    lists.containers(ContainerFilter.getDefaultInstance()).toList()))
            .build();
    return ListContainersResponse.parseFrom(answer.toByteString());
  }

  private ListContainersResponse made() {
    return ListContainersResponse.newBuilder()
        .addAllContainers(containers.list().stream().map(GrpcAnswers::container).toList())
        .build();
  }

  @Test
  void encodedItemsAreOnTheWireWhatTheMessagesWouldBe() throws Exception {
    assertThat(listed()).isEqualTo(made());
    assertThat(listed()).as("from what is kept").isEqualTo(made());
    assertThat(made().getContainersCount()).isEqualTo(2);

    var pods =
        ListPodSandboxResponse.newBuilder()
            .setUnknownFields(
                WireGrpcItems.field(
                    ListPodSandboxResponse.ITEMS_FIELD_NUMBER,
                    lists.sandboxes(PodSandboxFilter.getDefaultInstance()).toList()))
            .build();
    assertThat(ListPodSandboxResponse.parseFrom(pods.toByteString()).getItemsList())
        .containsExactlyElementsOf(sandboxes.list().stream().map(GrpcAnswers::sandbox).toList())
        .hasSize(1);
  }

  @Test
  void aChangedRecordIsListedAsItIsNow() throws Exception {
    assertThat(listed()).isEqualTo(made());
    containers.update(
        Containers.id("a"), c -> c.exited(new Container.Exit(3, "Error", "", System.nanoTime())));
    assertThat(listed()).isEqualTo(made());
    assertThat(listed().getContainers(0).getState())
        .isEqualTo(io.berth.cri.v1.ContainerState.CONTAINER_EXITED);
  }

  @Test
  void manyRemovedContainersAreNoLongerListed() throws Exception {
    for (int i = 0; i < 100; i++) {
      containers.create(
          Containers.of(Containers.id("c" + (100 + i)), "c" + i, ContainerState.CREATED));
    }
    assertThat(listed()).isEqualTo(made());
    for (int i = 0; i < 100; i++) {
      containers.delete(Containers.id("c" + (100 + i)));
      assertThat(listed()).isEqualTo(made());
    }
    assertThat(listed().getContainersCount()).isEqualTo(2);
  }

  @Test
  void anEmptyListIsAnEmptyMessage() throws Exception {
    containers.delete(Containers.id("a"));
    containers.delete(Containers.id("b"));
    assertThat(listed()).isEqualTo(ListContainersResponse.getDefaultInstance());
  }
}
