package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.ContainerState;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PullImageRequest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Containers whose processes end late, so that their cgroups can't be removed at once. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class SlowExitsIT {
  private static final int PODS = 10;
  private static final int CONTAINERS = 30;
  private static final Duration SOON = Duration.ofMinutes(3);

  /** A tree of processes that don't hear, each with memory that takes its time to be given back. */
  private static final List<String> DEAF =
      List.of(
          "sh",
          "-c",
          "trap '' TERM; for i in 1 2 3; do (trap '' TERM; x=$(head -c 1000000 /dev/zero | tr '\\0' x);"
              + " sleep 3600; echo $x) & done; wait");

  @Test
  void threeHundredOfThemLeaveNoCgroup(DockerRegistry registry) throws Exception {
    try (var daemon = BerthDaemon.with().registry(registry.address()).start();
        ExecutorService threads = Executors.newFixedThreadPool(PODS)) {
      var _ =
          daemon
              .client()
              .images()
              .pullImage(
                  PullImageRequest.newBuilder()
                      .setImage(ImageSpec.newBuilder().setImage(Requests.BUSYBOX))
                      .build());
      List<Future<List<String>>> lives = new ArrayList<>();
      for (int i = 0; i < PODS; i++) {
        String name = "slow-" + i;
        lives.add(threads.submit(() -> live(daemon, name)));
      }
      List<String> ids = new ArrayList<>();
      for (Future<List<String>> life : lives) {
        ids.addAll(life.get());
      }
      assertThat(ids).hasSize(PODS * (CONTAINERS + 1));
      // Looks for the cgroups of all ids that the daemon's log names.
      daemon.assertNothingLeft(SOON);
    }
  }

  /** The ids of a pod and of its containers, one after the other, all ended by force. */
  private static List<String> live(BerthDaemon daemon, String name) throws Exception {
    List<String> ids = new ArrayList<>();
    try (var life = new PodLife(daemon.socket(), SOON::toMillis)) {
      PodSandboxConfig pod = Requests.pod(daemon, name).build();
      String podId = life.run(pod);
      ids.add(podId);
      for (int i = 0; i < CONTAINERS; i++) {
        String id =
            life.create(podId, pod, Requests.container("c" + i, Requests.BUSYBOX, DEAF).build());
        ids.add(id);
        life.start(id);
        life.stop(id, i % 3 == 0 ? 1 : 0);
        assertThat(life.status(id).getState()).isEqualTo(ContainerState.CONTAINER_EXITED);
        assertThat(life.status(id).getExitCode()).isEqualTo(137);
        life.remove(id);
      }
      life.stopPod(podId);
      life.removePod(podId);
    }
    return ids;
  }
}
