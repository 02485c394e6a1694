package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.LinuxContainerSecurityContext;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.SELinuxOption;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A node with SELinux and Debian's policy, with types and rules for containers, which are enforced.
 * The machine's own system isn't labelled, and may do what it wants.
 */
@Tag("vm")
@Tag("selinux")
@TestInstance(Lifecycle.PER_CLASS)
class SelinuxNodeIT {
  private static final Pattern CONFINED =
      Pattern.compile("system_u:system_r:container_t:(s0:c[0-9]+,c[0-9]+)");

  private static final String SECRET = "/volume/secret";

  private final InstalledBerth berth;
  private final InstalledPods pods;
  private final PodLife life;

  SelinuxNodeIT() throws IOException, InterruptedException {
    berth = InstalledBerth.start("", Path.of("busybox.tar"), InstalledPods.IMAGE);
    pods = new InstalledPods(berth);
    life = pods.life();
  }

  @BeforeAll
  void thisIsTheMachineMeant() {
    assertThat(Path.of("/sys/fs/selinux/enforce")).hasContent("1");
  }

  @AfterEach
  void nothingIsLeftOfThePods(TestInfo test) throws InterruptedException {
    pods.removeAll(test);
  }

  @AfterAll
  void end() {
    pods.close();
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void containersOfAPodShareTwoCategoriesThatNoOtherPodHas(String handler) throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("one-" + handler).build();
    PodSandboxConfig otherPod = InstalledPods.pod("other-" + handler).build();
    String podId = pods.run(pod, handler);
    String first = pods.started(podId, pod, sleeper("first"));
    String second = pods.started(podId, pod, sleeper("second"));
    String other = pods.started(pods.run(otherPod, handler), otherPod, sleeper("other"));

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
      assertThat(label(Path.of("/proc/" + InstalledPods.pid(first) + "/root" + file)))
          .as(file)
          .isEqualTo("system_u:object_r:container_file_t:s0");
    }

    berth.systemd("restart");
    assertThat(level(pods.started(podId, pod, sleeper("third")))).isEqualTo(level);
  }

  @Test
  void whatIsAskedForByNameIsTakenIfThePolicyKnowsIt() throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("named").build();
    String podId = pods.run(pod, "runc");
    String named =
        pods.started(podId, pod, labelled("named", SELinuxOption.newBuilder().setType("spc_t")));
    assertThat(process(named)).startsWith("system_u:system_r:spc_t:s0:c");
    String level =
        pods.started(
            podId, pod, labelled("level", SELinuxOption.newBuilder().setLevel("s0:c5,c6")));
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
    PodSandboxConfig.Builder pod = InstalledPods.pod("privileged");
    pod.getLinuxBuilder().getSecurityContextBuilder().setPrivileged(true);
    ContainerConfig.Builder container = sleeper("main").toBuilder();
    security(container).setPrivileged(true);
    String id = pods.started(pods.run(pod.build(), "runc"), pod.build(), container.build());
    assertThat(process(id)).startsWith("system_u:system_r:spc_t:s0");
  }

  @Test
  void volumesAreRelabelledOnDemandAndTheMachinesFoldersNever() throws Exception {
    Path volume = Files.createTempDirectory("berth-e2e-");
    Path file = Files.writeString(volume.resolve("file"), "x");
    Path kept = Files.createTempDirectory("berth-e2e-");
    String before = label(kept);
    PodSandboxConfig pod = InstalledPods.pod("volumes").build();
    String podId = pods.run(pod, "runc");
    ContainerConfig.Builder container =
        sleeper("main").toBuilder()
            .addMounts(mount(volume, "/volume").setSelinuxRelabel(true))
            .addMounts(mount(kept, "/kept"));
    pods.started(podId, pod, container.build());
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
  void whatIsNotLabelledForContainersIsKeptFromThem() throws Exception {
    Path volume = Files.createTempDirectory("berth-e2e-");
    Files.writeString(volume.resolve("secret"), "of the machine");
    PodSandboxConfig.Builder pod = InstalledPods.pod("kept-away");
    pod.getLinuxBuilder().getSecurityContextBuilder().setPrivileged(true);
    String podId = pods.run(pod.build(), "runc");
    String confined =
        pods.started(
            podId, pod.build(), sleeper("confined").toBuilder().addMounts(at(volume)).build());
    ContainerConfig.Builder privileged = sleeper("privileged").toBuilder().addMounts(at(volume));
    security(privileged).setPrivileged(true);

    assertThat(life.exec(confined, "id", "-u")).as("root, by the files' modes").isEqualTo("0\n");
    assertThat(attempt(confined, "cat " + SECRET)).contains("Permission denied");
    assertThat(attempt(confined, "touch /volume/new")).contains("Permission denied");
    assertThat(life.exec(pods.started(podId, pod.build(), privileged.build()), "cat", SECRET))
        .isEqualTo("of the machine");

    ContainerConfig.Builder relabelled =
        sleeper("relabelled").toBuilder().addMounts(at(volume).setSelinuxRelabel(true));
    String id = pods.started(podId, pod.build(), relabelled.build());
    assertThat(life.exec(id, "cat", SECRET)).isEqualTo("of the machine");
    assertThat(attempt(id, "touch /volume/new; ls /volume")).contains("new");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void categoriesKeepPodsFromEachOthersVolumes(String handler) throws Exception {
    Path volume = Files.createTempDirectory("berth-e2e-");
    PodSandboxConfig pod = InstalledPods.pod("owner-" + handler).build();
    PodSandboxConfig otherPod = InstalledPods.pod("stranger-" + handler).build();
    String podId = pods.run(pod, handler);
    String owner = started(podId, pod, "owner", volume);
    // As a volume that is mounted with its pod's own label.
    Commands.run(
        List.of(
            "/usr/bin/chcon",
            "system_u:object_r:container_file_t:" + level(owner),
            volume.toString()));
    assertThat(attempt(owner, "echo mine > /volume/secret; cat /volume/secret"))
        .isEqualTo("mine\n");
    assertThat(label(volume.resolve("secret")))
        .isEqualTo("system_u:object_r:container_file_t:" + level(owner));

    String stranger = started(pods.run(otherPod, handler), otherPod, "stranger", volume);
    assertThat(attempt(stranger, "ls /volume")).contains("Permission denied");
    assertThat(attempt(stranger, "cat " + SECRET)).contains("Permission denied");
    assertThat(attempt(stranger, "touch /volume/new")).contains("Permission denied");
    String friend = started(podId, pod, "friend", volume);
    assertThat(attempt(friend, "cat " + SECRET)).as("of one pod").isEqualTo("mine\n");
  }

  @Test
  void layersAreLabelledEvenIfTheyAreOlderThanThePolicy() throws Exception {
    Path layers = Path.of("/var/lib/berth/layers");
    assertThat(labels(layers)).containsOnly("system_u:object_r:container_ro_file_t:s0");
    Commands.run(
        List.of("/usr/bin/chcon", "-R", "system_u:object_r:var_lib_t:s0", layers.toString()));
    berth.systemd("restart");
    PodSandboxConfig pod = InstalledPods.pod("older").build();
    String id = pods.started(pods.run(pod, "runc"), pod, sleeper("main"));
    assertThat(process(id)).contains(":container_t:");
    assertThat(life.exec(id, "sh", "-c", "cp /bin/busybox /busybox && /busybox echo written"))
        .as("a program of its own")
        .isEqualTo("written\n");
    assertThat(labels(layers)).containsOnly("system_u:object_r:container_ro_file_t:s0");
  }

  /** Of all files that layers have from their images. */
  private static List<String> labels(Path layers) throws InterruptedException {
    return Commands.run(
            List.of(
                "/usr/bin/find",
                layers.toString(),
                "-path",
                "*/fs*",
                "!",
                "-type",
                "l",
                "-printf",
                "%Z\n"))
        .lines()
        .distinct()
        .toList();
  }

  private String started(String podId, PodSandboxConfig pod, String name, Path volume)
      throws InterruptedException {
    return pods.started(podId, pod, sleeper(name).toBuilder().addMounts(at(volume)).build());
  }

  private static Mount.Builder at(Path volume) {
    return mount(volume, "/volume");
  }

  /** What a shell in it says, also of failures. */
  private String attempt(String container, String script) throws InterruptedException {
    return life.exec(container, "sh", "-c", "{ " + script + "; } 2>&1; true");
  }

  @Test
  void doctorNamesThePolicy() throws Exception {
    assertThat(InstalledBerth.berth("doctor"))
        .contains("enforcing, containers are labelled by policy default");
  }

  private static Mount.Builder mount(Path source, String target) {
    return Mount.newBuilder().setHostPath(source.toString()).setContainerPath(target);
  }

  private static ContainerConfig sleeper(String name) {
    return Requests.container(name, InstalledPods.IMAGE, Requests.SLEEP).build();
  }

  private static ContainerConfig labelled(String name, SELinuxOption.Builder label) {
    ContainerConfig.Builder container = sleeper(name).toBuilder();
    security(container).setSelinuxOptions(label);
    return container.build();
  }

  private static LinuxContainerSecurityContext.Builder security(ContainerConfig.Builder container) {
    return container.getLinuxBuilder().getSecurityContextBuilder();
  }

  /** The label of the container's first process, as the machine sees it. */
  private static String process(String container) throws IOException {
    return Files.readString(Path.of("/proc/" + InstalledPods.pid(container) + "/attr/current"))
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
