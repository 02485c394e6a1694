package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.json.JsonMapper;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerStatusRequest;
import io.berth.cri.v1.LinuxContainerSecurityContext;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.SELinuxOption;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A node with SELinux and Debian's policy, which knows containers. It is permissive, as nothing of
 * that machine's system is labelled: labels are real and checked by the kernel, but nothing is
 * refused for them.
 */
@Tag("vm")
@Tag("selinux")
@TestInstance(Lifecycle.PER_CLASS)
class SelinuxNodeIT {
  private static final String IMAGE = "berth.test/busybox:1";
  private static final Pattern CONFINED =
      Pattern.compile("system_u:system_r:container_t:(s0:c[0-9]+,c[0-9]+)");

  private final InstalledBerth berth;
  private final PodLife life;
  private final List<String> pods = new ArrayList<>();

  SelinuxNodeIT() throws IOException, InterruptedException {
    berth = InstalledBerth.start("", Path.of("busybox.tar"), IMAGE);
    life = new PodLife(InstalledBerth.SOCKET, () -> InstalledBerth.PATIENCE.toMillis());
  }

  @BeforeAll
  void thisIsTheMachineMeant() {
    assertThat(Path.of("/sys/fs/selinux/enforce")).exists();
  }

  @AfterEach
  void removePods() throws Exception {
    for (String pod : pods) {
      life.stopPod(pod);
      life.removePod(pod);
    }
    pods.clear();
  }

  @AfterAll
  void end() throws InterruptedException {
    life.close();
    berth.systemd("stop");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void containersOfAPodShareTwoCategoriesThatNoOtherPodHas(String handler) throws Exception {
    PodSandboxConfig pod = pod("one-" + handler);
    PodSandboxConfig otherPod = pod("other-" + handler);
    String podId = run(pod, handler);
    String first = started(podId, pod, sleeper("first"));
    String second = started(podId, pod, sleeper("second"));
    String other = started(run(otherPod, handler), otherPod, sleeper("other"));

    String level = level(first);
    assertThat(level(second)).isEqualTo(level);
    assertThat(level(other)).isNotEqualTo(level);
    assertThat(life.exec(first, "cat", "/proc/self/attr/current").strip().replace("\0", ""))
        .as("an exec's")
        .isEqualTo("system_u:system_r:container_t:" + level);
    String files = "system_u:object_r:container_file_t:" + level;
    assertThat(life.exec(first, "grep", "-E", " (/|/dev) ", "/proc/mounts").lines())
        .hasSize(2)
        .allMatch(mount -> mount.contains("context=\"" + files + "\""));
    for (String file : List.of("/etc/hosts", "/etc/resolv.conf", "/dev/shm")) {
      assertThat(label(Path.of("/proc/" + pid(first) + "/root" + file)))
          .as(file)
          .isEqualTo("system_u:object_r:container_file_t:s0");
    }

    berth.systemd("restart");
    assertThat(level(started(podId, pod, sleeper("third")))).isEqualTo(level);
  }

  @Test
  void whatIsAskedForByNameIsTakenIfThePolicyKnowsIt() throws Exception {
    PodSandboxConfig pod = pod("named");
    String podId = run(pod, "runc");
    String named =
        started(podId, pod, labelled("named", SELinuxOption.newBuilder().setType("spc_t")));
    assertThat(process(named)).startsWith("system_u:system_r:spc_t:s0:c");
    String level =
        started(podId, pod, labelled("level", SELinuxOption.newBuilder().setLevel("s0:c5,c6")));
    assertThat(process(level)).isEqualTo("system_u:system_r:container_t:s0:c5,c6");

    assertThatThrownBy(() ->
            life.create(
                podId, pod, labelled("type", SELinuxOption.newBuilder().setType("none_such_t"))))
        .hasMessageContaining("none_such_t", "isn't known to the loaded policy");
    assertThatThrownBy(() ->
            life.create(
                podId, pod, labelled("high", SELinuxOption.newBuilder().setLevel("s0:c5,c1024"))))
        .hasMessageContaining("c1024", "isn't known to the loaded policy");
    assertThatThrownBy(() ->
            life.create(podId, pod, labelled("form", SELinuxOption.newBuilder().setLevel("c5,c6"))))
        .hasMessageContaining("isn't one such as s0:c1,c2");
  }

  @Test
  void privilegedContainersAreNotConfined() throws Exception {
    PodSandboxConfig.Builder pod = pod("privileged").toBuilder();
    pod.getLinuxBuilder().getSecurityContextBuilder().setPrivileged(true);
    ContainerConfig.Builder container = sleeper("main").toBuilder();
    security(container).setPrivileged(true);
    String id = started(run(pod.build(), "runc"), pod.build(), container.build());
    assertThat(process(id)).doesNotContain("container_t");
  }

  @Test
  void volumesAreRelabelledOnDemandAndTheMachinesFoldersNever() throws Exception {
    Path volume = Files.createTempDirectory("berth-e2e-");
    Path file = Files.writeString(volume.resolve("file"), "x");
    Path kept = Files.createTempDirectory("berth-e2e-");
    String before = label(kept);
    PodSandboxConfig pod = pod("volumes");
    String podId = run(pod, "runc");
    ContainerConfig.Builder container =
        sleeper("main").toBuilder()
            .addMounts(mount(volume, "/volume").setSelinuxRelabel(true))
            .addMounts(mount(kept, "/kept"));
    started(podId, pod, container.build());
    assertThat(label(file)).isEqualTo("system_u:object_r:container_file_t:s0");
    assertThat(label(volume)).isEqualTo(label(file));
    assertThat(label(kept)).isEqualTo(before);

    ContainerConfig.Builder machines =
        sleeper("machines").toBuilder()
            .addMounts(mount(Path.of("/etc"), "/machine").setSelinuxRelabel(true));
    assertThatThrownBy(() -> life.create(podId, pod, machines.build()))
        .hasMessageContaining("would take it from the machine");
  }

  @Test
  void doctorNamesThePolicy() throws Exception {
    assertThat(InstalledBerth.berth("doctor"))
        .contains("permissive, containers are labelled by policy default");
  }

  private static Mount.Builder mount(Path source, String target) {
    return Mount.newBuilder().setHostPath(source.toString()).setContainerPath(target);
  }

  private static PodSandboxConfig pod(String name) {
    return Requests.pod(InstalledBerth.LOGS.resolve(name), name, Requests.ORDINARY).build();
  }

  private static ContainerConfig sleeper(String name) {
    return Requests.container(name, IMAGE, Requests.SLEEP).build();
  }

  private static ContainerConfig labelled(String name, SELinuxOption.Builder label) {
    ContainerConfig.Builder container = sleeper(name).toBuilder();
    security(container).setSelinuxOptions(label);
    return container.build();
  }

  private static LinuxContainerSecurityContext.Builder security(ContainerConfig.Builder container) {
    return container.getLinuxBuilder().getSecurityContextBuilder();
  }

  private String run(PodSandboxConfig pod, String handler) throws InterruptedException {
    String id = life.run(pod, handler);
    pods.add(id);
    return id;
  }

  private String started(String podId, PodSandboxConfig pod, ContainerConfig container)
      throws InterruptedException {
    String id = life.create(podId, pod, container);
    life.start(id);
    return id;
  }

  private static long pid(String container) throws IOException {
    try (var client = new CriClient(InstalledBerth.SOCKET)) {
      String info =
          client
              .runtime()
              .containerStatus(
                  ContainerStatusRequest.newBuilder()
                      .setContainerId(container)
                      .setVerbose(true)
                      .build())
              .getInfoOrThrow("info");
      return JsonMapper.builder().build().readTree(info).get("pid").asLong();
    }
  }

  /** The label of the container's first process, as the machine sees it. */
  private static String process(String container) throws IOException {
    return Files.readString(Path.of("/proc/" + pid(container) + "/attr/current"))
        .replace("\0", "")
        .strip();
  }

  private static String level(String container) throws IOException {
    Matcher label = CONFINED.matcher(process(container));
    assertThat(label.matches()).as(process(container)).isTrue();
    return label.group(1);
  }

  private static String label(Path file) throws InterruptedException {
    return Commands.run(List.of("/usr/bin/stat", "-c", "%C", file.toString())).strip();
  }
}
