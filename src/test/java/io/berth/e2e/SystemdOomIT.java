package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerEventType;
import io.berth.cri.v1.ContainerStatus;
import io.berth.cri.v1.LinuxContainerResources;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.PodSandboxConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.api.io.TempDir;

/**
 * Kills for memory where systemd removes a container's cgroup, and the kernel's count in it, with
 * its last process. In the machine of {@code ./dev vm-test}.
 */
@Tag("vm")
@TestInstance(Lifecycle.PER_CLASS)
class SystemdOomIT {
  private static final String GREED = "tail /dev/zero";

  private final InstalledBerth berth;
  private final InstalledPods pods;

  @TempDir Path signals = Path.of("");

  SystemdOomIT() throws IOException, InterruptedException {
    berth = InstalledBerth.start("", Path.of("busybox.tar"), InstalledPods.IMAGE);
    pods = new InstalledPods(berth);
  }

  @AfterEach
  void nothingIsLeftOfThePods(TestInfo test) throws InterruptedException {
    pods.removeAll(test);
  }

  @AfterAll
  void end() {
    pods.close();
  }

  private ContainerConfig limited(String name, String script) {
    return InstalledPods.container(
            name,
            List.of("sh", "-c", script),
            LinuxContainerResources.newBuilder().setMemoryLimitInBytes(24 << 20).build())
        .toBuilder()
        .addMounts(Mount.newBuilder().setContainerPath("/signals").setHostPath(signals.toString()))
        .build();
  }

  private static String after(String signal) {
    return "until [ -e /signals/" + signal + " ]; do usleep 1000; done; ";
  }

  private void give(String signal) throws IOException {
    Files.writeString(signals.resolve(signal), "");
  }

  @Test
  void theEventOfTheEndSaysWhy() throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("event").build();
    try (var feed = new EventFeed(InstalledBerth.SOCKET)) {
      String podId = pods.run(pod, "runc");
      String id = pods.started(podId, pod, limited("greedy", GREED + "; exit 3"));
      var end =
          feed.await(
              "the end of " + id,
              event ->
                  event.getContainerId().equals(id)
                      && event.getContainerEventType()
                          == ContainerEventType.CONTAINER_STOPPED_EVENT);
      assertThat(end.getContainersStatusesList())
          .filteredOn(status -> status.getId().equals(id))
          .singleElement()
          .returns("OOMKilled", ContainerStatus::getReason)
          .returns(3, ContainerStatus::getExitCode);
    }
  }

  /** The one ends as soon as the other one's child was killed: in the same instant. */
  @RepeatedTest(4)
  void ofTwoThatEndInOneInstantTheRightOneIsAccused() throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("instant").build();
    String podId = pods.run(pod, "runc");
    Files.deleteIfExists(signals.resolve("killed"));
    String bystander = pods.started(podId, pod, limited("bystander", after("killed") + "exit 0"));
    String greedy =
        pods.started(podId, pod, limited("greedy", GREED + "; : > /signals/killed; exit 3"));

    assertThat(pods.ended(greedy).getReason()).isEqualTo("OOMKilled");
    assertThat(pods.ended(bystander).getReason()).isEqualTo("Completed");
  }

  @Test
  void ofTwoThatAreKilledInOneInstantForNoMemoryNeitherIsAccused() throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("killed").build();
    String podId = pods.run(pod, "runc");
    String before = pods.started(podId, pod, limited("before", GREED + "; exit 3"));
    assertThat(pods.ended(before).getReason()).isEqualTo("OOMKilled");
    String one = pods.started(podId, pod, limited("one", "sleep 3600"));
    String other = pods.started(podId, pod, limited("other", "sleep 3600"));

    Commands.run(
        List.of(
            "/bin/sh", "-c", "kill -9 " + InstalledPods.pid(one) + " " + InstalledPods.pid(other)));

    assertThat(pods.ended(one))
        .returns("Error", ContainerStatus::getReason)
        .returns(137, ContainerStatus::getExitCode);
    assertThat(pods.ended(other)).returns("Error", ContainerStatus::getReason);
  }

  @Test
  void aKillWhileTheServiceIsAwayIsReportedAtItsReturn() throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("away").build();
    String podId = pods.run(pod, "runc");
    String greedy = pods.started(podId, pod, limited("greedy", after("away") + GREED + "; exit 0"));
    String other = pods.started(podId, pod, limited("other", after("away") + "exit 0"));
    berth.systemd("stop");
    give("away");
    Path exits = Path.of("/run/berth/exits");
    Await.until(
        "both have ended",
        InstalledBerth.PATIENCE,
        () -> Files.exists(exits.resolve(greedy)) && Files.exists(exits.resolve(other)));
    berth.systemd("start");

    assertThat(pods.life().status(greedy).getReason()).isEqualTo("OOMKilled");
    assertThat(pods.life().status(other).getReason()).isEqualTo("Completed");
  }
}
