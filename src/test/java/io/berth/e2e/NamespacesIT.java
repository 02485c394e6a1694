package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.NamespaceOption;
import io.berth.cri.v1.PodSandboxConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What containers share with each other and with the machine, as they see it themselves. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class NamespacesIT {
  private static final Duration SOON = Duration.ofSeconds(30);

  private final BerthDaemon daemon;
  private final Crictl crictl;

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  NamespacesIT(DockerRegistry registry) throws Exception {
    daemon = Runtimes.node(registry).start();
    crictl = daemon.crictl();
  }

  @BeforeEach
  void imageIsThere() throws Exception {
    crictl.run("pull", Requests.BUSYBOX);
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

  @ParameterizedTest
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN, Runtimes.CRUN})
  void containersOfAPodShareNetworkIpcAndNameAndNothingElse(String handler) throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "ordinary");
    String podId = crictl.runPod(pod, handler);
    String one = sleeper("one", podId, pod, Requests.ORDINARY);
    String other = sleeper("other", podId, pod, Requests.ORDINARY);

    for (String kind : List.of("net", "ipc", "uts")) {
      assertThat(namespace(one, kind))
          .as(kind)
          .isEqualTo(namespace(other, kind))
          .isNotEqualTo(machines(kind));
    }
    for (String kind : List.of("pid", "mnt")) {
      assertThat(namespace(one, kind))
          .as(kind)
          .isNotEqualTo(namespace(other, kind))
          .isNotEqualTo(machines(kind));
    }
    assertThat(namespace(one, "user")).isEqualTo(machines("user"));
  }

  @ParameterizedTest
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN, Runtimes.CRUN})
  void containersOnTheMachinesNamespacesAreInThem(String handler) throws Exception {
    NamespaceOption machine = all(NamespaceMode.NODE);
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "of-the-machine", machine);
    String container = sleeper("main", crictl.runPod(pod, handler), pod, machine);

    for (String kind : List.of("net", "ipc", "uts", "pid")) {
      assertThat(namespace(container, kind)).as(kind).isEqualTo(machines(kind));
    }
  }

  @Test
  void whatAContainerLeavesAmongTheMachinesProcessesEndsWithIt() throws Exception {
    NamespaceOption machine = all(NamespaceMode.NODE);
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "leaving", machine);
    String podId = crictl.runPod(pod);
    String container =
        crictl.start(
            podId,
            Requests.container(
                "main",
                Requests.BUSYBOX,
                List.of("sh", "-c", "setsid sleep 77531 & trap 'exit 0' TERM; sleep 3600 & wait"),
                machine),
            pod);
    Await.until("its child runs", SOON, () -> running("77531"));

    crictl.run("stop", "--timeout", "30", container);

    Await.until("its child is gone", SOON, () -> !running("77531"));
    assertThat(crictl.json("inspect", container).at("/status/exitCode").asInt()).isZero();
  }

  @Test
  void debuggingContainerIsAmongTheProcessesOfItsTarget() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "debugged");
    String podId = crictl.runPod(pod);
    String target = sleeper("target", podId, pod, Requests.ORDINARY);
    NamespaceOption ofTarget = ofTarget(target);
    String debugger = sleeper("debugger", podId, pod, ofTarget);

    assertThat(namespace(debugger, "pid")).isEqualTo(namespace(target, "pid"));
    assertThat(crictl.run("exec", "-s", debugger, "cat", "/proc/1/cmdline")).contains("trap");

    String late =
        crictl.create(
            podId, Requests.container("late", Requests.BUSYBOX, Requests.SLEEP, ofTarget), pod);
    crictl.run("stop", "--timeout", "0", target);
    assertThat(crictl.attempt("start", late).err())
        .contains("FailedPrecondition", target, "must be running");
    assertThat(
            crictl
                .attemptCreate(
                    podId,
                    Requests.container("refused", Requests.BUSYBOX, Requests.SLEEP, ofTarget),
                    pod)
                .err())
        .contains("InvalidArgument", target, "must be running");
  }

  @Test
  void targetMustBeOfTheSamePod() throws Exception {
    PodSandboxConfig.Builder one = Requests.pod(daemon, "one");
    String target = sleeper("target", crictl.runPod(one), one, Requests.ORDINARY);
    PodSandboxConfig.Builder other = Requests.pod(daemon, "other");

    assertThat(
            crictl
                .attemptCreate(
                    crictl.runPod(other),
                    Requests.container(
                        "stranger", Requests.BUSYBOX, Requests.SLEEP, ofTarget(target)),
                    other)
                .err())
        .contains("same sandbox");
  }

  private String sleeper(
      String name, String podId, PodSandboxConfig.Builder pod, NamespaceOption namespaces)
      throws Exception {
    return crictl.start(
        podId, Requests.container(name, Requests.BUSYBOX, Requests.SLEEP, namespaces), pod);
  }

  private static NamespaceOption all(NamespaceMode mode) {
    return NamespaceOption.newBuilder().setNetwork(mode).setPid(mode).setIpc(mode).build();
  }

  private static NamespaceOption ofTarget(String container) {
    return Requests.ORDINARY.toBuilder()
        .setPid(NamespaceMode.TARGET)
        .setTargetId(container)
        .build();
  }

  private String namespace(String container, String kind) throws InterruptedException {
    return crictl.run("exec", "-s", container, "readlink", "/proc/self/ns/" + kind);
  }

  private static String machines(String kind) throws Exception {
    return Files.readSymbolicLink(Path.of("/proc/self/ns", kind)).toString();
  }

  private static boolean running(String argument) {
    return ProcessHandle.allProcesses()
        .map(process -> Path.of("/proc", Long.toString(process.pid()), "cmdline"))
        .anyMatch(file -> {
          try {
            return Files.readString(file).equals("sleep\0" + argument + "\0");
          } catch (java.io.IOException ended) {
            return false;
          }
        });
  }
}
