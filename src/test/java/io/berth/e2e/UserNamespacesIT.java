package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.Capability;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.IDMapping;
import io.berth.cri.v1.Int64Value;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.MountPropagation;
import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.NamespaceOption;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.UserNamespace;
import java.nio.file.Files;
import java.nio.file.Path;
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

/** Pods with users of their own, as they see themselves and as the machine sees them. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class UserNamespacesIT {
  private static final int ROOT = 231072;
  private static final NamespaceOption OWN_USERS = ownUsers(Requests.ORDINARY, ROOT);

  private final BerthDaemon daemon;
  private final Crictl crictl;

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  UserNamespacesIT(DockerRegistry registry) throws Exception {
    daemon = Runtimes.node(registry).start();
    crictl = daemon.crictl();
  }

  @BeforeEach
  void imagesAreThere() throws Exception {
    crictl.run("pull", Requests.BUSYBOX);
    crictl.run("pull", Requests.VOLUMES);
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
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN})
  void rootOfThePodIsNobodyOnTheMachine(String handler) throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "users", OWN_USERS);
    ContainerConfig.Builder config = sleeper("main", OWN_USERS);
    config
        .getLinuxBuilder()
        .getSecurityContextBuilder()
        .setCapabilities(Capability.newBuilder().addAddCapabilities("NET_ADMIN"));
    String container = crictl.start(crictl.runPod(pod, handler), config, pod);

    for (String map : List.of("uid_map", "gid_map")) {
      assertThat(in(container, "cat /proc/self/" + map).strip().split(" +"))
          .containsExactly("0", Integer.toString(ROOT), "65536");
    }
    assertThat(in(container, "id -u")).isEqualTo("0");
    assertThat(in(container, "stat -c %u:%g /bin/busybox /etc/hosts /dev/shm").lines())
        .containsOnly("0:0");
    assertThat(in(container, "touch /new /etc/hosts && stat -c %u /new")).isEqualTo("0");
    assertThat(in(container, "hostname")).isEqualTo("users");
    // Only who owns the network may do that.
    assertThat(in(container, "ip link set lo mtu 1400 && cat /sys/class/net/lo/mtu"))
        .isEqualTo("1400");

    Path process = Path.of("/proc", crictl.json("inspect", container).at("/info/pid").asText());
    assertThat(Files.getAttribute(process, "unix:uid")).isEqualTo(ROOT);
    assertThat(Files.readAllLines(process.resolve("cgroup")))
        .filteredOn(line -> !line.startsWith("0::"))
        .allMatch(line -> line.endsWith("/" + container), "is in the container's cgroup");
    assertThat(crictl.run("logs", container)).isEmpty();
  }

  /** The range of groups that may is the machine's ids, and looks odd from inside. */
  @ParameterizedTest
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN})
  void whoHasNoCapabilityMayPingAndListenOnLowPorts(String handler) throws Exception {
    for (NamespaceOption users : List.of(OWN_USERS, Requests.ORDINARY)) {
      PodSandboxConfig.Builder pod = Requests.pod(daemon, "ping", users);
      pod.getMetadataBuilder().setAttempt(users.hasUsernsOptions() ? 1 : 0);
      ContainerConfig.Builder config =
          sleeper("main", users)
              .addMounts(
                  Mount.newBuilder()
                      .setHostPath("/usr")
                      .setContainerPath("/machine/usr")
                      .setReadonly(true));
      config
          .getLinuxBuilder()
          .getSecurityContextBuilder()
          .setRunAsUser(Int64Value.newBuilder().setValue(1000))
          .setCapabilities(Capability.newBuilder().addDropCapabilities("ALL"));
      String container = crictl.start(crictl.runPod(pod, handler), config, pod);
      // With the machine's perl, as busybox's ping knows only the way of who has the capability.
      String libraries = "/machine/usr/lib/x86_64-linux-gnu";
      String perl =
          "%1$s/ld-linux-x86-64.so.2 --library-path %1$s /machine/usr/bin/perl -e "
              .formatted(libraries);
      assertThat(
              in(
                  container,
                  perl
                      + "'print socket(S, 2, 2, 1) ? 1 : $!;"
                      + " print socket(T, 2, 1, 6)"
                      + " && bind(T, pack(\"S n a4 x8\", 2, 80, \"\")) ? 1 : $!'"))
          .as("a socket for ICMP, icmp(7), and one on port 80")
          .isEqualTo("11");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN})
  void privilegedContainerIsSoAmongItsOwnUsersAlone(String handler) throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "privileged", OWN_USERS);
    pod.getLinuxBuilder().getSecurityContextBuilder().setPrivileged(true);
    ContainerConfig.Builder config = sleeper("main", OWN_USERS);
    config.getLinuxBuilder().getSecurityContextBuilder().setPrivileged(true);
    String container = crictl.start(crictl.runPod(pod, handler), config, pod);

    assertThat(in(container, "cat /proc/self/uid_map").strip().split(" +"))
        .containsExactly("0", Integer.toString(ROOT), "65536");
    assertThat(in(container, "mkdir /t && mount -t tmpfs t /t && grep -c ' /t tmpfs' /proc/mounts"))
        .isEqualTo("1");
    assertThat(in(container, "mknod /disk b 7 0 2>&1 || echo refused")).contains("refused");
    assertThat(in(container, "echo 1 2>&1 > /proc/sys/vm/swappiness || echo refused"))
        .contains("refused");
    assertThat(in(container, "head -c 1 /dev/loop0 2>&1 || echo refused")).contains("refused");
    Path process = Path.of("/proc", crictl.json("inspect", container).at("/info/pid").asText());
    assertThat(Files.getAttribute(process, "unix:uid")).isEqualTo(ROOT);
    var sandbox =
        crictl.json("inspectp", crictl.run("pods", "-q", "--no-trunc")).at("/info/runtimeSpec");
    assertThat(sandbox.at("/linux/namespaces").findValuesAsText("type"))
        .containsExactlyInAnyOrder("user", "network", "ipc", "uts");
  }

  @ParameterizedTest
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN})
  void volumesShowTheOwnersThatTheirMappingGives(String handler) throws Exception {
    Path volume = Files.createDirectories(daemon.folder().resolve("volume-" + handler));
    Files.writeString(volume.resolve("five"), "5\n");
    Files.setAttribute(volume.resolve("five"), "unix:uid", 5);
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "volumes", OWN_USERS);
    ContainerConfig.Builder config =
        sleeper("main", OWN_USERS)
            .addMounts(mapped("/mapped", volume))
            .addMounts(
                Mount.newBuilder().setContainerPath("/plain").setHostPath(volume.toString()));
    String container = crictl.start(crictl.runPod(pod, handler), config, pod);

    assertThat(in(container, "stat -c %u /mapped /mapped/five").lines()).containsExactly("0", "5");
    assertThat(in(container, "stat -c %u /plain /plain/five").lines()).containsOnly("65534");
    in(container, "touch /mapped/new");
    assertThat(Files.getAttribute(volume.resolve("new"), "unix:uid")).isEqualTo(0);
    assertThat(crictl.attempt("exec", "-s", container, "touch", "/plain/new").err())
        .contains("Permission denied");
    // A volume that its image declares, with the owners of the image.
    assertThat(in(container, "stat -c %u:%a /data /data/seed").lines())
        .containsExactly("1000:750", "1000:640");
    in(container, "touch /data/more /fresh/more");
  }

  @ParameterizedTest
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN})
  void podMaySharePidsAndItsImagesAndOutliveTheDaemon(String handler) throws Exception {
    NamespaceOption shared =
        ownUsers(Requests.ORDINARY.toBuilder().setPid(NamespaceMode.POD).build(), ROOT);
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "shared", shared);
    String podId = crictl.runPod(pod, handler);
    ContainerConfig.Builder config =
        sleeper("main", shared)
            .addMounts(
                Mount.newBuilder()
                    .setContainerPath("/image")
                    .setReadonly(true)
                    .setImage(io.berth.cri.v1.ImageSpec.newBuilder().setImage(Requests.VOLUMES)));
    String container = crictl.start(podId, config, pod);
    assertThat(in(container, "cat /proc/1/comm")).isEqualTo("init");
    assertThat(in(container, "stat -c %u /image/tools /image/data").lines())
        .containsExactly("0", "1000");

    daemon.kill9();
    daemon.restart();

    assertThat(in(container, "/image/tools/hello")).isEqualTo("hello from the image");
    String second = crictl.start(podId, sleeper("second", shared), pod);
    assertThat(in(second, "readlink /proc/self/ns/user"))
        .isEqualTo(in(container, "readlink /proc/self/ns/user"));
  }

  @ParameterizedTest
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN})
  void onTheMachinesNetworkItSeesSysButCannotWriteIt(String handler) throws Exception {
    NamespaceOption machine =
        ownUsers(Requests.ORDINARY.toBuilder().setNetwork(NamespaceMode.NODE).build(), ROOT);
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "on-the-machine", machine);
    String container = crictl.start(crictl.runPod(pod, handler), sleeper("main", machine), pod);

    assertThat(in(container, "readlink /proc/self/ns/net"))
        .isEqualTo(Files.readSymbolicLink(Path.of("/proc/self/ns/net")).toString());
    assertThat(in(container, "ls /sys/class/net").lines()).contains("lo");
    assertThat(in(container, "grep -E ' /sys(/[^ ]*)? ' /proc/mounts | grep -v cgroup").lines())
        .isNotEmpty()
        .allMatch(line -> List.of(line.split(" ")[3].split(",")).contains("ro"));
  }

  @ParameterizedTest
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN, Runtimes.CRUN})
  void nullDeviceOfTheMachineStaysRoots(String handler) throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "null-device", OWN_USERS);
    var run = crictl.attemptPod(pod, handler);
    if (run.ok()) {
      String container = crictl.start(run.out().strip(), sleeper("main", OWN_USERS), pod);
      in(container, "true");
    } else {
      assertThat(run.err()).contains("crun before 1.24", "set hostUsers: true");
    }
    assertThat(Files.getAttribute(Path.of("/dev/null"), "unix:uid")).isEqualTo(0);

    // Without a user namespace, but as another user.
    PodSandboxConfig.Builder ordinary = Requests.pod(daemon, "ordinary");
    ContainerConfig.Builder user = sleeper("main", Requests.ORDINARY);
    user.getLinuxBuilder()
        .getSecurityContextBuilder()
        .setRunAsUser(Int64Value.newBuilder().setValue(1000));
    assertThat(in(crictl.start(crictl.runPod(ordinary, handler), user, ordinary), "id -u"))
        .isEqualTo("1000");
    assertThat(Files.getAttribute(Path.of("/dev/null"), "unix:uid")).isEqualTo(0);
  }

  @Test
  void containerMustHaveTheUsersOfItsPod() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "mismatch", OWN_USERS);
    String podId = crictl.runPod(pod);
    for (NamespaceOption other :
        List.of(Requests.ORDINARY, ownUsers(Requests.ORDINARY, ROOT + 65536))) {
      assertThat(crictl.attemptCreate(podId, sleeper("main", other), pod).err())
          .contains("InvalidArgument", "its user namespace isn't that of pod");
    }
  }

  @Test
  void nothingIsMountedOnTheMachineFromAUserNamespace() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "bidirectional", OWN_USERS);
    ContainerConfig.Builder config =
        sleeper("main", OWN_USERS)
            .addMounts(
                mapped("/data", daemon.folder()).toBuilder()
                    .setPropagation(MountPropagation.PROPAGATION_BIDIRECTIONAL));
    assertThat(crictl.attemptCreate(crictl.runPod(pod), config, pod).err())
        .contains("InvalidArgument", "can't be mounted bidirectionally");
  }

  @Test
  void handlersSayWhetherTheyHaveUserNamespaces() throws Exception {
    var handlers = crictl.json("info").get("runtimeHandlers");
    assertThat(handlers)
        .filteredOn(
            h -> List.of(Runtimes.CURRENT, Runtimes.DEBIAN).contains(h.at("/name").asText()))
        .hasSize(2)
        .allMatch(h -> h.at("/features/user_namespaces").asBoolean());
  }

  private static ContainerConfig.Builder sleeper(String name, NamespaceOption namespaces) {
    return Requests.container(name, Requests.VOLUMES, Requests.SLEEP, namespaces);
  }

  private static Mount mapped(String target, Path source) {
    return Mount.newBuilder()
        .setContainerPath(target)
        .setHostPath(source.toString())
        .addUidMappings(mapping(ROOT))
        .addGidMappings(mapping(ROOT))
        .build();
  }

  private static NamespaceOption ownUsers(NamespaceOption others, int root) {
    return others.toBuilder()
        .setUsernsOptions(
            UserNamespace.newBuilder()
                .setMode(NamespaceMode.POD)
                .addUids(mapping(root))
                .addGids(mapping(root)))
        .build();
  }

  private static IDMapping mapping(int root) {
    return IDMapping.newBuilder().setContainerId(0).setHostId(root).setLength(65536).build();
  }

  private String in(String container, String script) throws InterruptedException {
    return crictl.run("exec", "-s", container, "sh", "-c", script);
  }
}
