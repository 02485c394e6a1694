package io.berth.e2e;

import static io.berth.cri.v1.ContainerEventType.CONTAINER_CREATED_EVENT;
import static io.berth.cri.v1.ContainerEventType.CONTAINER_DELETED_EVENT;
import static io.berth.cri.v1.ContainerEventType.CONTAINER_STARTED_EVENT;
import static io.berth.cri.v1.ContainerEventType.CONTAINER_STOPPED_EVENT;
import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.Container;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerEventResponse;
import io.berth.cri.v1.ContainerEventType;
import io.berth.cri.v1.ContainerState;
import io.berth.cri.v1.ContainerStatus;
import io.berth.cri.v1.ListContainersRequest;
import io.berth.cri.v1.ListImagesRequest;
import io.berth.cri.v1.ListPodSandboxRequest;
import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.NamespaceOption;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PodSandboxState;
import io.berth.cri.v1.PodSandboxStatusRequest;
import io.berth.cri.v1.PodSandboxStatusResponse;
import io.berth.cri.v1.StreamContainersRequest;
import io.berth.cri.v1.StreamImagesRequest;
import io.berth.cri.v1.StreamPodSandboxesRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.extension.ExtendWith;

/** What subscribers hear, as an evented kubelet does, and lists that come in parts. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@TestMethodOrder(MethodOrderer.Random.class)
class EventsIT {
  /** More by hand: {@code -Dberth.lives=1000}. */
  private static final int LIVES = Integer.getInteger("berth.lives", 24);

  private static final List<ContainerEventType> WHOLE_LIFE =
      List.of(
          CONTAINER_CREATED_EVENT,
          CONTAINER_STARTED_EVENT,
          CONTAINER_STOPPED_EVENT,
          CONTAINER_DELETED_EVENT);

  private final BerthDaemon daemon;

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  EventsIT(DockerRegistry registry) throws Exception {
    daemon = BerthDaemon.with().registry(registry.address()).start();
  }

  @BeforeEach
  void imageIsThere() throws Exception {
    daemon.crictl().run("pull", Requests.BUSYBOX);
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

  private PodLife life() {
    return new PodLife(daemon.socket(), () -> 60_000);
  }

  private static ContainerConfig sh(String name, String script) {
    return Requests.container(name, Requests.BUSYBOX, List.of("sh", "-c", script)).build();
  }

  private static String told(ContainerEventResponse event) {
    return event.getContainerEventType().name().replaceAll("CONTAINER_|_EVENT", "")
        + " "
        + event.getPodSandboxStatus().getState().name().replace("SANDBOX_", "")
        + " "
        + event.getContainersStatusesList().stream().map(s -> s.getState().name()).toList();
  }

  @Test
  void everySubscriberHearsAPodsLifeInOrderEachTimeWithTheStateOfTheMoment() throws Exception {
    try (var one = new EventFeed(daemon);
        var two = new EventFeed(daemon);
        var life = life()) {
      PodSandboxConfig config = Requests.pod(daemon, "heard").build();
      String pod = life.run(config);
      String container = life.create(pod, config, sh("main", "sleep 3600"));
      life.start(container);
      life.stop(container, 0);
      life.remove(container);
      life.stopPod(pod);
      life.removePod(pod);
      one.awaitDeleted(pod);
      two.awaitDeleted(pod);

      assertThat(one.of(pod).stream().map(EventsIT::told))
          .containsExactly(
              "CREATED READY []",
              "STARTED READY []",
              "CREATED READY [CONTAINER_CREATED]",
              "STARTED READY [CONTAINER_RUNNING]",
              "STOPPED READY [CONTAINER_EXITED]",
              "DELETED READY []",
              "STOPPED NOTREADY []",
              "DELETED NOTREADY []");
      assertThat(one.kinds(pod)).isEqualTo(WHOLE_LIFE);
      assertThat(one.kinds(container)).isEqualTo(WHOLE_LIFE);
      assertThat(two.of(pod)).isEqualTo(one.of(pod));
      assertThat(one.of(pod))
          .allSatisfy(
              e -> assertThat(e.getPodSandboxStatus().getMetadata().getName()).isEqualTo("heard"))
          .extracting(ContainerEventResponse::getCreatedAt)
          .isSorted()
          .doesNotHaveDuplicates();
    }
  }

  @Test
  void aStoppedPodTellsItsContainersEndsBeforeItsOwn() throws Exception {
    try (var feed = new EventFeed(daemon);
        var life = life()) {
      PodSandboxConfig config = Requests.pod(daemon, "stopped").build();
      String pod = life.run(config);
      String container = life.create(pod, config, sh("main", "sleep 3600"));
      life.start(container);
      life.stopPod(pod);
      life.removePod(pod);
      feed.awaitDeleted(pod);

      assertThat(
              feed.of(pod).stream()
                  .map(e -> told(e) + (e.getContainerId().equals(pod) ? " pod" : "")))
          .endsWith(
              "STOPPED NOTREADY [CONTAINER_EXITED]",
              "STOPPED NOTREADY [CONTAINER_EXITED] pod",
              "DELETED NOTREADY []",
              "DELETED NOTREADY [] pod");
    }
  }

  @Test
  void aContainerThatEndsByItselfIsTold() throws Exception {
    try (var feed = new EventFeed(daemon);
        var life = life()) {
      PodSandboxConfig config = Requests.pod(daemon, "by-itself").build();
      String pod = life.run(config);
      String container = life.create(pod, config, sh("main", "exit 7"));
      life.start(container);

      ContainerEventResponse stopped =
          feed.await(
              "the container's end",
              e ->
                  e.getContainerId().equals(container)
                      && e.getContainerEventType() == CONTAINER_STOPPED_EVENT);
      assertThat(stopped.getContainersStatusesList())
          .singleElement()
          .returns(7, ContainerStatus::getExitCode)
          .returns("Error", ContainerStatus::getReason)
          .returns(ContainerState.CONTAINER_EXITED, ContainerStatus::getState);
      assertThat(feed.kinds(container))
          .containsExactly(
              CONTAINER_CREATED_EVENT, CONTAINER_STARTED_EVENT, CONTAINER_STOPPED_EVENT);
    }
  }

  @Test
  void aPodWhoseSharedInitDiesIsToldOnceAsStopped() throws Exception {
    NamespaceOption shared = Requests.ORDINARY.toBuilder().setPid(NamespaceMode.POD).build();
    try (var feed = new EventFeed(daemon);
        var life = life()) {
      PodSandboxConfig config = Requests.pod(daemon, "dies", shared).build();
      String pod = life.run(config);
      long init = crictlPid(pod);

      ProcessHandle.of(init).orElseThrow().destroyForcibly();
      ContainerEventResponse stopped =
          feed.await(
              "the pod's end",
              e ->
                  e.getContainerId().equals(pod)
                      && e.getContainerEventType() == CONTAINER_STOPPED_EVENT);
      assertThat(stopped.getPodSandboxStatus().getState())
          .isEqualTo(PodSandboxState.SANDBOX_NOTREADY);
      life.stopPod(pod);
      life.removePod(pod);
      feed.awaitDeleted(pod);
      assertThat(feed.kinds(pod)).isEqualTo(WHOLE_LIFE);
    }
  }

  private long crictlPid(String pod) throws InterruptedException {
    return daemon.crictl().json("inspectp", pod).at("/info/pid").asLong();
  }

  @Test
  void manyLivesAtOnceAreCompleteAndInOrder() throws Exception {
    try (var feed = new EventFeed(daemon);
        ExecutorService clients = Executors.newVirtualThreadPerTaskExecutor()) {
      PodSandboxConfig config = Requests.pod(daemon, "many").build();
      List<Future<List<String>>> all = new ArrayList<>();
      String pod;
      try (var life = life()) {
        pod = life.run(config);
      }
      for (int client = 0; client < 4; client++) {
        int first = client;
        all.add(
            clients.submit(() -> {
              List<String> ids = new ArrayList<>();
              try (var life = life()) {
                for (int i = first; i < LIVES; i += 4) {
                  String id = life.create(pod, config, sh("c" + i, "exit " + i % 3));
                  life.start(id);
                  life.stop(id, 0);
                  life.remove(id);
                  ids.add(id);
                }
              }
              return ids;
            }));
      }
      for (Future<List<String>> client : all) {
        for (String id : client.get()) {
          feed.awaitDeleted(id);
          assertThat(feed.kinds(id)).as(id).isEqualTo(WHOLE_LIFE);
        }
      }
      assertThat(feed.of(pod))
          .hasSize(2 + 4 * LIVES)
          .extracting(ContainerEventResponse::getCreatedAt)
          .isSorted();
    }
  }

  @Test
  void streamedListsShowWhatListsShow() throws Exception {
    try (var life = life()) {
      for (String name : List.of("a", "b", "c")) {
        PodSandboxConfig config = Requests.pod(daemon, name).build();
        String pod = life.run(config);
        var _ = life.create(pod, config, sh("main", "true"));
      }
    }
    var runtime = daemon.client().runtime();
    List<Container> streamed = new ArrayList<>();
    runtime
        .streamContainers(StreamContainersRequest.getDefaultInstance())
        .forEachRemaining(part -> streamed.addAll(part.getContainersList()));
    assertThat(streamed)
        .hasSize(3)
        .isEqualTo(
            runtime.listContainers(ListContainersRequest.getDefaultInstance()).getContainersList());
    var pods = new ArrayList<>();
    runtime
        .streamPodSandboxes(StreamPodSandboxesRequest.getDefaultInstance())
        .forEachRemaining(part -> pods.addAll(part.getPodSandboxesList()));
    assertThat(pods)
        .hasSize(3)
        .isEqualTo(
            runtime.listPodSandbox(ListPodSandboxRequest.getDefaultInstance()).getItemsList());
    var images = new ArrayList<>();
    daemon
        .client()
        .images()
        .streamImages(StreamImagesRequest.getDefaultInstance())
        .forEachRemaining(part -> images.addAll(part.getImagesList()));
    assertThat(images)
        .isNotEmpty()
        .isEqualTo(
            daemon
                .client()
                .images()
                .listImages(ListImagesRequest.getDefaultInstance())
                .getImagesList());
  }

  @Test
  void theStatusOfAPodCarriesItsContainersAndTheTimeForAnEventedKubelet() throws Exception {
    try (var life = life()) {
      PodSandboxConfig config = Requests.pod(daemon, "asked").build();
      String pod = life.run(config);
      String container = life.create(pod, config, sh("main", "sleep 3600"));
      PodSandboxStatusResponse status =
          daemon
              .client()
              .runtime()
              .podSandboxStatus(PodSandboxStatusRequest.newBuilder().setPodSandboxId(pod).build());
      assertThat(status.getContainersStatusesList())
          .singleElement()
          .returns(container, ContainerStatus::getId);
      assertThat(status.getTimestamp()).isGreaterThan(status.getStatus().getCreatedAt());
    }
  }

  @Test
  void aStreamEndsWithItsDeadline() {
    var stream =
        daemon
            .client()
            .runtime()
            .withDeadlineAfter(1, TimeUnit.SECONDS)
            .getContainerEvents(io.berth.cri.v1.GetEventsRequest.getDefaultInstance());
    try {
      stream.forEachRemaining(_ -> {});
      throw new AssertionError("it ended as if it were complete");
    } catch (StatusRuntimeException ended) {
      assertThat(ended.getStatus().getCode()).isEqualTo(Status.Code.DEADLINE_EXCEEDED);
    }
  }
}
