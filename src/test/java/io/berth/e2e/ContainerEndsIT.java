package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerState;
import io.berth.cri.v1.ContainerStatus;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.NamespaceOption;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.RemoveImageRequest;
import io.berth.cri.v1.Signal;
import io.berth.cri.v1.StopContainerRequest;
import io.berth.linux.Cgroups;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** How containers are stopped, fail to start, and outlive what they were made of. */
@Tag("root")
@TestInstance(Lifecycle.PER_CLASS)
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class ContainerEndsIT {
  private static final Duration SOON = Duration.ofSeconds(60);
  private static final Cgroups CGROUPS = Cgroups.detect(Path.of("/sys/fs/cgroup"));

  private final Saboteur saboteur;
  private final BerthDaemon daemon;
  private final PodLife life;

  @TempDir Path signals = Path.of("");

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  ContainerEndsIT(DockerRegistry registry, @TempDir Path programs) throws Exception {
    saboteur = new Saboteur(programs, TestTools.installed("runc", "runc"), Path.of("/usr/lib/cni"));
    daemon = saboteur.daemon().registry(registry.address()).start();
    life = new PodLife(daemon.socket(), () -> 60_000);
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
    life.close();
    daemon.close();
  }

  private ContainerConfig sh(String name, String script) {
    return Requests.container(name, Requests.BUSYBOX, List.of("sh", "-c", script))
        .addMounts(Mount.newBuilder().setContainerPath("/signals").setHostPath(signals.toString()))
        .build();
  }

  private String started(String podId, PodSandboxConfig pod, ContainerConfig container)
      throws InterruptedException {
    String id = life.create(podId, pod, container);
    life.start(id);
    return id;
  }

  /** Notes each TERM, and stays. */
  private String stubborn(String podId, PodSandboxConfig pod) throws InterruptedException {
    String id =
        started(
            podId,
            pod,
            sh(
                "stubborn",
                "trap 'echo TERM >> /signals/heard' TERM; : > /signals/ready;"
                    + " while :; do sleep 3600 & wait; kill $!; done"));
    Await.until("it listens", SOON, () -> Files.exists(signals.resolve("ready")));
    return id;
  }

  private List<String> heard() throws IOException {
    Path file = signals.resolve("heard");
    return Files.exists(file) ? Files.readAllLines(file) : List.of();
  }

  private void stop(String id, long grace, Duration patience) {
    try (var client = new CriClient(daemon.socket())) {
      var _ =
          client
              .runtime()
              .withDeadlineAfter(patience.toMillis(), TimeUnit.MILLISECONDS)
              .stopContainer(
                  StopContainerRequest.newBuilder().setContainerId(id).setTimeout(grace).build());
    }
  }

  /** CRI numbers signals otherwise than the kernel does. */
  @Test
  void theSignalThatIsSentIsTheOneThatWasAskedFor() throws Exception {
    PodSandboxConfig pod = Requests.pod(daemon, "signals").build();
    String podId = life.run(pod);
    for (var signal :
        Map.of(
                Signal.SIGNAL_RUNTIME_DEFAULT, 15,
                Signal.SIGNAL_SIGHUP, 1,
                Signal.SIGNAL_SIGUSR2, 12,
                Signal.SIGNAL_SIGWINCH, 28,
                Signal.SIGNAL_SIGRTMINPLUS5, 39,
                Signal.SIGNAL_SIGRTMAXMINUS14, 50)
            .entrySet()) {
      String name = "n" + signal.getValue();
      String script =
          "for s in 1 12 15 28 39 50; do trap \"exit $s\" $s; done; : > /signals/"
              + name
              + "; while :; do sleep 3600 & wait $!; done";
      String id =
          started(podId, pod, sh(name, script).toBuilder().setStopSignal(signal.getKey()).build());
      Await.until("it listens", SOON, () -> Files.exists(signals.resolve(name)));
      stop(id, 60, SOON.multipliedBy(2));
      assertThat(life.status(id).getExitCode()).as(name).isEqualTo(signal.getValue());
    }
  }

  @Test
  void aSecondStopShortensTheGraceAndDoesNotSignalAgain() throws Exception {
    PodSandboxConfig pod = Requests.pod(daemon, "stubborn").build();
    String id = stubborn(life.run(pod), pod);

    var first = CompletableFuture.runAsync(() -> stop(id, 3600, Duration.ofMinutes(5)));
    Await.until("it has heard the first", SOON, () -> heard().size() == 1);
    assertThat(life.status(id).getState()).isEqualTo(ContainerState.CONTAINER_RUNNING);
    stop(id, 1, SOON);

    first.get(SOON.toSeconds(), TimeUnit.SECONDS);
    assertThat(life.status(id))
        .returns(ContainerState.CONTAINER_EXITED, ContainerStatus::getState)
        .returns(137, ContainerStatus::getExitCode);
    assertThat(heard()).containsExactly("TERM");
  }

  @Test
  void aStopThatNobodyWaitsForAnyMoreKillsNobody() throws Exception {
    PodSandboxConfig pod = Requests.pod(daemon, "abandoned").build();
    String id = stubborn(life.run(pod), pod);

    Status given =
        catchThrowableOfType(
                StatusRuntimeException.class, () -> stop(id, 3600, Duration.ofSeconds(2)))
            .getStatus();

    assertThat(given.getCode()).isEqualTo(Status.Code.DEADLINE_EXCEEDED);
    Await.until("it has heard", SOON, () -> heard().size() == 1);
    assertThat(life.exec(id, "echo", "alive")).isEqualTo("alive\n");
    assertThat(life.status(id).getState()).isEqualTo(ContainerState.CONTAINER_RUNNING);
    stop(id, 0, SOON);
    assertThat(life.status(id).getState()).isEqualTo(ContainerState.CONTAINER_EXITED);
  }

  @Test
  void aFrozenContainerHearsItsSignalAndCanBeKilled() throws Exception {
    PodSandboxConfig pod = Requests.pod(daemon, "frozen").build();
    String podId = life.run(pod);
    String asked =
        started(
            podId, pod, sh("asked", "trap 'exit 42' TERM; : > /signals/trap; sleep 3600 & wait"));
    String killed = started(podId, pod, sh("killed", "sleep 3600"));
    Await.until("it listens", SOON, () -> Files.exists(signals.resolve("trap")));
    freeze(asked);
    freeze(killed);

    stop(asked, 60, SOON.multipliedBy(2));
    assertThat(life.status(asked).getExitCode()).isEqualTo(42);
    stop(killed, 0, SOON);
    assertThat(life.status(killed).getExitCode()).isEqualTo(137);
  }

  /** As an administrator does who wants to look at it. */
  private void freeze(String id) throws Exception {
    String cgroup = daemon.crictl().json("inspect", id).at("/info/cgroup").asText();
    Path folder = CGROUPS.folder("freezer", cgroup);
    Path order = folder.resolve(CGROUPS.unified() ? "cgroup.freeze" : "freezer.state");
    Files.writeString(order, CGROUPS.unified() ? "1" : "FROZEN");
    Await.until(
        "it is frozen",
        SOON,
        () ->
            CGROUPS.unified()
                ? Files.readString(folder.resolve("cgroup.events")).contains("frozen 1")
                : Files.readString(order).strip().equals("FROZEN"));
  }

  @Test
  void everyProcessOfASharedNamespaceIsKilledWithItsContainer() throws Exception {
    NamespaceOption shared = Requests.ORDINARY.toBuilder().setPid(NamespaceMode.POD).build();
    PodSandboxConfig pod = Requests.pod(daemon, "shared", shared).build();
    String podId = life.run(pod);
    String watcher = started(podId, pod, inShared("watcher", "sleep 3600", shared));
    String many =
        started(
            podId, pod, inShared("many", "trap '' TERM; sleep 7777 & sleep 7777 & wait", shared));
    Await.until("there are two", SOON, () -> sleepers(watcher) == 2);

    stop(many, 1, SOON);

    Await.until("none is left", SOON, () -> sleepers(watcher) == 0);
    assertThat(life.status(watcher).getState()).isEqualTo(ContainerState.CONTAINER_RUNNING);
  }

  private static ContainerConfig inShared(String name, String script, NamespaceOption namespaces) {
    return Requests.container(name, Requests.BUSYBOX, List.of("sh", "-c", script), namespaces)
        .build();
  }

  private long sleepers(String watcher) throws InterruptedException {
    return life.exec(watcher, "ps", "-o", "args")
        .lines()
        .filter(line -> line.equals("sleep 7777"))
        .count();
  }

  @Test
  void afterAStartThatFailedTheNameIsFreeAgain() throws Exception {
    PodSandboxConfig pod = Requests.pod(daemon, "unlucky").build();
    String podId = life.run(pod);
    saboteur.once("runtime-start-before", "echo not today >&2; exit 1");
    String failed = life.create(podId, pod, sh("main", "sleep 3600"));

    Status refused =
        catchThrowableOfType(StatusRuntimeException.class, () -> life.start(failed)).getStatus();
    assertThat(refused.getDescription()).contains("not today");
    ContainerStatus status = life.status(failed);
    assertThat(status)
        .returns(ContainerState.CONTAINER_EXITED, ContainerStatus::getState)
        .returns("StartError", ContainerStatus::getReason)
        .returns(128, ContainerStatus::getExitCode);
    assertThat(status.getMessage()).contains("not today");
    assertThat(status.getStartedAt()).isPositive();
    assertThat(status.getFinishedAt()).isGreaterThanOrEqualTo(status.getStartedAt());

    life.remove(failed);
    String second = started(podId, pod, sh("main", "sleep 3600"));
    assertThat(life.exec(second, "echo", "alive")).isEqualTo("alive\n");
  }

  @Test
  void aContainerWhoseImageWasRemovedRunsOnAndStillNamesIt() throws Exception {
    PodSandboxConfig pod = Requests.pod(daemon, "imageless").build();
    String podId = life.run(pod);
    String id = started(podId, pod, sh("main", "sleep 3600"));
    ContainerStatus before = life.status(id);
    assertThat(before.getImage().getImage()).isEqualTo(Requests.BUSYBOX);
    assertThat(before.getImageRef()).isNotEmpty();
    assertThat(before.getImageId()).isNotEmpty();

    var _ =
        daemon
            .client()
            .images()
            .removeImage(
                RemoveImageRequest.newBuilder()
                    .setImage(ImageSpec.newBuilder().setImage(Requests.BUSYBOX))
                    .build());

    assertThat(daemon.crictl().run("images", "-q")).doesNotContain(before.getImageId());
    assertThat(life.status(id)).isEqualTo(before);
    assertThat(life.exec(id, "cat", "/etc/passwd")).contains("root:");
    daemon.kill9();
    daemon.restart();
    assertThat(life.status(id)).isEqualTo(before);
    life.stop(id, 0);
    assertThat(life.status(id))
        .returns(before.getImage(), ContainerStatus::getImage)
        .returns(before.getImageRef(), ContainerStatus::getImageRef)
        .returns(before.getImageId(), ContainerStatus::getImageId);
  }

  @Test
  void withoutAPathOutputIsDroppedAndAFailedCreationLeavesNoLog() throws Exception {
    PodSandboxConfig pod = Requests.pod(daemon, "quiet").build();
    String podId = life.run(pod);
    Path logs = Path.of(pod.getLogDirectory());
    ContainerConfig mute =
        sh("mute", "yes | head -n 100000; : > /signals/said; sleep 3600").toBuilder()
            .clearLogPath()
            .build();
    var _ = started(podId, pod, mute);
    Await.until("it has said all", SOON, () -> Files.exists(signals.resolve("said")));

    ContainerConfig missing =
        Requests.container("missing", Requests.BUSYBOX, List.of("/no/such/program")).build();
    assertThat(
            catchThrowableOfType(
                StatusRuntimeException.class, () -> life.create(podId, pod, missing)))
        .hasMessageContaining("/no/such/program");
    assertThat(Files.exists(logs) ? Leftovers.entries(logs) : List.of()).isEmpty();
  }
}
