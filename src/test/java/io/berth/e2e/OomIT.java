package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerState;
import io.berth.cri.v1.ContainerStatus;
import io.berth.cri.v1.LinuxContainerResources;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.PodSandboxConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Who was killed for its memory is told from who was killed otherwise, every time. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class OomIT {
  /** More by hand: {@code -Dberth.kills=200}. */
  private static final int KILLS = Integer.getInteger("berth.kills", 12);

  private static final Duration SOON = Duration.ofSeconds(60);
  private static final long LIMIT = 24L << 20;
  private static final String GREED = "tail /dev/zero";

  @TempDir Path signals = Path.of("");
  private final DockerRegistry registry;

  OomIT(DockerRegistry registry) {
    this.registry = registry;
  }

  private ContainerConfig limited(String name, String script) {
    ContainerConfig.Builder config =
        Requests.container(name, Requests.BUSYBOX, List.of("sh", "-c", script))
            .addMounts(
                Mount.newBuilder().setContainerPath("/signals").setHostPath(signals.toString()));
    config
        .getLinuxBuilder()
        .setResources(
            LinuxContainerResources.newBuilder()
                .setMemoryLimitInBytes(LIMIT)
                .setMemorySwapLimitInBytes(LIMIT));
    return config.build();
  }

  private static ContainerStatus ended(PodLife life, String id) throws InterruptedException {
    Await.until(
        id + " has ended",
        SOON,
        () -> life.status(id).getState() == ContainerState.CONTAINER_EXITED);
    return life.status(id);
  }

  @Test
  void everyKillForMemoryIsReportedAndNoOtherKillIs() throws Exception {
    try (BerthDaemon daemon = BerthDaemon.with().registry(registry.address()).start();
        var life = new PodLife(daemon.socket(), () -> 60_000)) {
      daemon.crictl().run("pull", Requests.BUSYBOX);
      PodSandboxConfig config = Requests.pod(daemon, "greedy").build();
      String pod = life.run(config);
      for (int i = 0; i < KILLS; i++) {
        String first = life.create(pod, config, limited("first" + i, "exec " + GREED));
        String child = life.create(pod, config, limited("child" + i, GREED + "; exit 3"));
        String other = life.create(pod, config, limited("other" + i, "kill -9 $$"));
        String stopped = life.create(pod, config, limited("stopped" + i, "sleep 3600"));
        for (String id : List.of(first, child, other, stopped)) {
          life.start(id);
        }
        life.stop(stopped, 0);

        assertThat(ended(life, first))
            .returns("OOMKilled", ContainerStatus::getReason)
            .returns(137, ContainerStatus::getExitCode);
        assertThat(ended(life, child))
            .as("its first process has lived on and told its own code")
            .returns("OOMKilled", ContainerStatus::getReason)
            .returns(3, ContainerStatus::getExitCode);
        assertThat(ended(life, stopped))
            .returns("Error", ContainerStatus::getReason)
            .returns(137, ContainerStatus::getExitCode);
        assertThat(ended(life, other).getReason()).isNotEqualTo("OOMKilled");
        for (String id : List.of(first, child, other, stopped)) {
          life.remove(id);
        }
      }
    }
  }

  @Test
  void aKillWhileTheDaemonIsAwayIsReportedAtItsReturn() throws Exception {
    try (BerthDaemon daemon = BerthDaemon.with().registry(registry.address()).start()) {
      daemon.crictl().run("pull", Requests.BUSYBOX);
      PodSandboxConfig config = Requests.pod(daemon, "alone").build();
      String id;
      try (var life = new PodLife(daemon.socket(), () -> 60_000)) {
        String pod = life.run(config);
        id =
            life.create(
                pod,
                config,
                limited(
                    "main",
                    "until [ -e /signals/go ]; do sleep 0.02; done; " + GREED + "; exit 0"));
        life.start(id);
      }
      daemon.kill9();
      Files.writeString(signals.resolve("go"), "");
      Path exit = daemon.runFolder().resolve("exits").resolve(id);
      Await.until("conmon has written " + exit, SOON, () -> Files.exists(exit));
      daemon.restart();
      try (var life = new PodLife(daemon.socket(), () -> 60_000)) {
        assertThat(life.status(id).getReason()).isEqualTo("OOMKilled");
      }
    }
  }
}
