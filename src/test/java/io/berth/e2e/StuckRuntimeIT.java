package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerStatusRequest;
import io.berth.cri.v1.LinuxContainerResources;
import io.berth.cri.v1.ListContainersRequest;
import io.berth.cri.v1.ListPodSandboxRequest;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PodSandboxStatusRequest;
import io.berth.cri.v1.StatusRequest;
import io.berth.cri.v1.UpdateContainerResourcesRequest;
import io.grpc.StatusRuntimeException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** One container whose runtime hangs is no other one's business. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class StuckRuntimeIT {
  private static final Duration SOON = Duration.ofSeconds(60);
  private static final int LOOKS = 50;

  @TempDir Path folder = Path.of("");
  private final DockerRegistry registry;

  StuckRuntimeIT(DockerRegistry registry) {
    this.registry = registry;
  }

  private static ContainerConfig sleeper(String name) {
    return Requests.container(name, Requests.BUSYBOX, Requests.SLEEP).build();
  }

  @ParameterizedTest
  @ValueSource(strings = {"start", "delete", "create", "update"})
  void listsAndStatusesAnswerWhileACallOfTheRuntimeHangs(String verb) throws Exception {
    var saboteur =
        new Saboteur(
            Files.createDirectory(folder.resolve("programs")),
            TestTools.installed("runc", "runc"),
            Path.of("/usr/lib/cni"));
    try (BerthDaemon daemon = saboteur.daemon().registry(registry.address()).start();
        var life = new PodLife(daemon.socket(), () -> 60_000);
        ExecutorService stuckCalls = Executors.newVirtualThreadPerTaskExecutor()) {
      daemon.crictl().run("pull", Requests.BUSYBOX);
      PodSandboxConfig config = Requests.pod(daemon, "half-stuck").build();
      String pod = life.run(config);
      String healthy = life.create(pod, config, sleeper("healthy"));
      life.start(healthy);
      String stuck = life.create(pod, config, sleeper("stuck"));
      saboteur.hangAt("runtime-" + verb + "-before");
      try {
        Future<?> call =
            stuckCalls.submit(() -> {
              try (var other = new PodLife(daemon.socket(), () -> 3_600_000)) {
                switch (verb) {
                  case "start" -> other.start(stuck);
                  case "delete" -> other.remove(stuck);
                  case "update" -> update(daemon, stuck);
                  default -> other.create(pod, config, sleeper("third"));
                }
              }
              return null;
            });
        Await.until("the runtime hangs", SOON, saboteur::isHanging);

        for (int i = 0; i < LOOKS; i++) {
          look(daemon, pod, healthy);
        }
        assertThat(life.exec(healthy, "echo", "well").strip()).isEqualTo("well");
        life.stop(healthy, 10);
        assertThat(call.isDone()).as("the runtime has hung throughout").isFalse();

        saboteur.release();
        call.get(SOON.toSeconds(), TimeUnit.SECONDS);
      } finally {
        saboteur.release();
      }
    }
  }

  private static void update(BerthDaemon daemon, String container) {
    var _ =
        daemon
            .client()
            .runtime()
            .withDeadlineAfter(1, TimeUnit.HOURS)
            .updateContainerResources(
                UpdateContainerResourcesRequest.newBuilder()
                    .setContainerId(container)
                    .setLinux(LinuxContainerResources.newBuilder().setCpuShares(512))
                    .build());
  }

  /** Each with a deadline that a waiting answer would miss and a slow machine doesn't. */
  private static void look(BerthDaemon daemon, String pod, String container) {
    var runtime = daemon.client().runtime().withDeadlineAfter(20, TimeUnit.SECONDS);
    try {
      assertThat(
              runtime
                  .listContainers(ListContainersRequest.getDefaultInstance())
                  .getContainersList())
          .isNotEmpty();
      assertThat(runtime.listPodSandbox(ListPodSandboxRequest.getDefaultInstance()).getItemsList())
          .isNotEmpty();
      var _ =
          runtime.containerStatus(
              ContainerStatusRequest.newBuilder().setContainerId(container).build());
      var _ =
          runtime.podSandboxStatus(
              PodSandboxStatusRequest.newBuilder().setPodSandboxId(pod).build());
      var _ = runtime.status(StatusRequest.getDefaultInstance());
    } catch (StatusRuntimeException failure) {
      throw new AssertionError("a call that reads is held up: " + failure.getStatus(), failure);
    }
  }
}
