package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.Device;
import io.berth.cri.v1.LinuxContainerSecurityContext;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.SecurityProfile;
import io.berth.cri.v1.SecurityProfile.ProfileType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What containers may do to devices, to cgroups and by system calls, tried from inside. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class PrivilegesIT {
  private static final Duration SOON = Duration.ofSeconds(60);

  private final BerthDaemon daemon;
  private final PodLife life;

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  PrivilegesIT(DockerRegistry registry) throws Exception {
    daemon =
        BerthDaemon.with()
            .registry(registry.address())
            .runtime("runc", TestTools.installed("runc", "runc"))
            .withoutUnifiedCgroups()
            .start();
    life = new PodLife(daemon.socket(), SOON::toMillis);
  }

  @BeforeEach
  void imageIsThere() {
    var _ =
        daemon
            .client()
            .images()
            .pullImage(PullImageRequest.newBuilder().setImage(sleeper("main").getImage()).build());
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

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void deviceMayBeUsedInTheWaysThatWereGiven(String handler) throws Exception {
    Path node = daemon.folder().resolve("fuse-" + handler);
    Commands.run(
        List.of(
            TestTools.installed("mknod", "coreutils").toString(),
            node.toString(),
            "c",
            "10",
            "229"));
    Device.Builder device = Device.newBuilder().setHostPath(node.toString());
    String reader =
        start(
            handler,
            sleeper("reader").addDevices(device.setContainerPath("/dev/r").setPermissions("r")));
    assertThat(attempt(reader, "exec 3< /dev/r")).doesNotContain("not permitted");
    assertThat(attempt(reader, "exec 3> /dev/r")).contains("not permitted");

    String writer =
        start(
            handler,
            sleeper("writer").addDevices(device.setContainerPath("/dev/w").setPermissions("wm")));
    assertThat(attempt(writer, "exec 3> /dev/w")).doesNotContain("not permitted");
    assertThat(attempt(writer, "exec 3< /dev/w")).contains("not permitted");
    assertThat(attempt(writer, "mknod /made c 10 229 && echo made")).isEqualTo("made\n");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void privilegedContainerUsesAnyDeviceAndMakesCgroups(String handler) throws Exception {
    String id = start(handler, sleeper("main"), true);
    assertThat(attempt(id, "mknod /fuse c 10 229 && exec 3<> /fuse"))
        .doesNotContain("not permitted");
    assertThat(
            life.exec(id, "cat", "/proc/mounts")
                .lines()
                .map(line -> line.split(" "))
                .filter(mount -> mount[2].startsWith("cgroup")))
        .isNotEmpty()
        .allMatch(mount -> List.of(mount[3].split(",")).contains("rw"));
    assertThat(
            attempt(id, "echo x > /proc/sys/kernel/domainname && cat /proc/sys/kernel/domainname"))
        .as("of the pod's own UTS namespace")
        .isEqualTo("x\n");

    String other = start(handler, sleeper("other"));
    assertThat(attempt(other, "mknod /fuse c 10 229")).isEmpty();
    assertThat(attempt(other, "exec 3< /fuse")).contains("not permitted");
    String mkdir =
        "grep -E ' cgroup2? ' /proc/mounts | while read a dir b; do mkdir $dir/mine && echo made; done";
    assertThat(attempt(other, mkdir)).contains("Read-only").doesNotContain("made");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  @SuppressWarnings("deprecation") // which is what it is about
  void oldFieldOfSeccompCountsUnlessThereIsTheNewOne(String handler) throws Exception {
    Path profile =
        Files.writeString(
            daemon.folder().resolve("profile-" + handler + ".json"),
            """
            {"defaultAction": "SCMP_ACT_ALLOW",
             "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}
            """);
    assertThat(seccomp(handler, "none", "")).isEqualTo("0");
    assertThat(seccomp(handler, "unconfined", "unconfined")).isEqualTo("0");
    assertThat(seccomp(handler, "default", "runtime/default")).isEqualTo("2");
    assertThat(seccomp(handler, "docker", "docker/default")).isEqualTo("2");
    ContainerConfig.Builder local = sleeper("local");
    security(local).setSeccompProfilePath("localhost/" + profile);
    assertThat(attempt(start(handler, local), "mkdir /x")).contains("not permitted");

    ContainerConfig.Builder both = sleeper("both");
    security(both)
        .setSeccompProfilePath("localhost/" + profile)
        .setSeccomp(SecurityProfile.newBuilder().setProfileType(ProfileType.Unconfined));
    assertThat(attempt(start(handler, both), "mkdir /x && echo fine")).isEqualTo("fine\n");
  }

  @SuppressWarnings("deprecation")
  private String seccomp(String handler, String name, String profile) throws Exception {
    ContainerConfig.Builder container = sleeper(name);
    security(container).setSeccompProfilePath(profile);
    String id = start(handler, container);
    return life.exec(id, "sed", "-n", "s/^Seccomp:[[:space:]]*//p", "/proc/1/status").strip();
  }

  private String start(String handler, ContainerConfig.Builder container)
      throws InterruptedException {
    return start(handler, container, false);
  }

  private String start(String handler, ContainerConfig.Builder container, boolean privileged)
      throws InterruptedException {
    PodSandboxConfig.Builder pod =
        Requests.pod(daemon, handler + (privileged ? "-privileged" : ""));
    pod.getLinuxBuilder().getSecurityContextBuilder().setPrivileged(privileged);
    security(container).setPrivileged(privileged);
    // The same request gives the same pod.
    String id = life.create(life.run(pod.build(), handler), pod.build(), container.build());
    life.start(id);
    return id;
  }

  /** What a shell in it says, also of failures. */
  private String attempt(String id, String script) throws InterruptedException {
    return life.exec(id, "sh", "-c", "(" + script + ") 2>&1; true");
  }

  private static ContainerConfig.Builder sleeper(String name) {
    return Requests.container(name, Requests.BUSYBOX, Requests.SLEEP);
  }

  private static LinuxContainerSecurityContext.Builder security(ContainerConfig.Builder container) {
    return container.getLinuxBuilder().getSecurityContextBuilder();
  }
}
