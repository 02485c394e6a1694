package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.errorprone.annotations.CanIgnoreReturnValue;
import com.google.protobuf.ByteString;
import io.berth.cri.v1.Capability;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerStatus;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.Int64Value;
import io.berth.cri.v1.KeyValue;
import io.berth.cri.v1.LinuxContainerSecurityContext;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.SecurityProfile;
import io.berth.cri.v1.Signal;
import io.berth.cri.v1.SupplementalGroupsPolicy;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What a request says about a container's process, read from inside the container, with each OCI
 * runtime.
 */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@TestMethodOrder(MethodOrderer.Random.class)
class ProcessFieldsIT {
  private static final Duration SOON = Duration.ofSeconds(60);

  /** The capabilities of a container that asks for nothing, capabilities(7). */
  private static final long USUAL = 0xa80425fbL;

  private static final long NET_BIND_SERVICE = 1L << 10;
  private static final long SYS_ADMIN = 1L << 21;

  private final DockerRegistry registry;
  private final BerthDaemon daemon;
  private final PodLife life;
  private String image = "";
  private Path accounts = Path.of("/");

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  ProcessFieldsIT(DockerRegistry registry) throws Exception {
    this.registry = registry;
    daemon =
        BerthDaemon.with()
            .registry(registry.address())
            .runtime("runc", TestTools.installed("runc", "runc"))
            .withoutUnifiedCgroups()
            .start();
    life = new PodLife(daemon.socket(), SOON::toMillis);
  }

  @BeforeAll
  void pull(@TempDir Path files) throws Exception {
    Path etc = Files.createDirectory(files.resolve("etc"));
    Files.writeString(
        etc.resolve("passwd"),
        "root:x:0:0:root:/root:/bin/sh\nfields:x:1000:1001::/home/fields:/bin/sh\n");
    Files.writeString(etc.resolve("group"), "root:x:0:\nfields:x:1001:\nmore:x:50000:fields\n");
    image =
        new ImageVariant(registry, "process-fields")
            .config("Entrypoint", List.of("sh", "-c", Requests.SLEEP.getLast(), "entry"))
            .config("Cmd", List.of("cmd"))
            .config("Env", List.of("PATH=/usr/bin:/bin", "A=image", "B=image", "nameless"))
            .config("StopSignal", "SIGUSR1")
            .config("WorkingDir", "/of/the/image")
            .files(files)
            .push();
    var _ = pulled(image);
    accounts = files;
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
  void commandReplacesTheEntryPointAndItsArgumentsButArgumentsOnlyThese(String handler)
      throws Exception {
    Pod pod = new Pod(handler);
    assertThat(arguments(pod.start(container("neither")))).endsWith("entry", "cmd");
    assertThat(arguments(pod.start(container("arguments").addArgs("x").addArgs("y z"))))
        .endsWith("entry", "x", "y z");
    assertThat(
            arguments(
                pod.start(container("both").addCommand("sleep").addArgs("3600").addArgs("1"))))
        .containsExactly("sleep", "3600", "1");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void environmentKeepsItsOrderAndALaterValueTakesThePlaceOfAnEarlierOne(String handler)
      throws Exception {
    String id =
        new Pod(handler)
            .start(
                container("main")
                    .addEnvs(variable("A", "request"))
                    .addEnvs(variable("Z", "spaces and = signs"))
                    .addEnvs(variable("EMPTY", ""))
                    .addEnvs(variable("LETTERS", "Grüße"))
                    .addEnvs(variable("A", "request again")));
    assertThat(zeroSeparated(id, "environ"))
        .startsWith(
            "PATH=/usr/bin:/bin",
            "HOSTNAME=" + handler,
            "A=request again",
            "B=image",
            "Z=spaces and = signs",
            "EMPTY=",
            "LETTERS=Grüße")
        .contains("HOME=/root");
    assertThat(life.exec(id, "env")).contains("A=request again", "B=image");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void valueThatIsNotTextIsRefusedAsNoRuntimeHandsItOnWhole(String handler) throws Exception {
    ContainerConfig.Builder broken =
        container("main")
            .addEnvs(
                KeyValue.newBuilder()
                    .setKey("RAW")
                    .setValue(ByteString.copyFrom(new byte[] {'a', (byte) 0xff})));
    assertThatThrownBy(() -> new Pod(handler).start(broken))
        .isInstanceOf(StatusRuntimeException.class)
        .hasMessageContaining("environment variable RAW isn't UTF-8");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void usersAndGroupsComeFromTheImageUnlessThePolicyIsStrict(String handler) throws Exception {
    Pod pod = new Pod(handler);
    ContainerConfig.Builder merged = container("merged");
    security(merged).setRunAsUser(id(1000)).addSupplementalGroups(4000);
    ContainerConfig.Builder strict = container("strict");
    security(strict)
        .setRunAsUsername("fields")
        .addSupplementalGroups(4000)
        .setSupplementalGroupsPolicy(SupplementalGroupsPolicy.Strict);
    ContainerConfig.Builder other = container("other");
    security(other).setRunAsUser(id(77)).setRunAsGroup(id(88));

    String mergedId = pod.start(merged);
    String strictId = pod.start(strict);
    String otherId = pod.start(other);
    assertThat(groups(mergedId)).containsExactly("1001", "4000", "50000");
    assertThat(groups(strictId)).containsExactly("1001", "4000");
    assertThat(groups(otherId)).containsExactly("88");
    assertThat(status(mergedId, "Uid")).isEqualTo("1000\t1000\t1000\t1000");
    assertThat(status(otherId, "Gid")).isEqualTo("88\t88\t88\t88");
    assertThat(life.exec(strictId, "id", "-G").strip().split(" "))
        .containsExactlyInAnyOrder("1001", "4000");
    var user = life.status(strictId).getUser().getLinux();
    assertThat(user.getUid()).isEqualTo(1000);
    assertThat(user.getGid()).isEqualTo(1001);
    assertThat(user.getSupplementalGroupsList()).containsExactlyInAnyOrder(1001L, 4000L);
    assertThat(zeroSeparated(mergedId, "environ")).contains("HOME=/home/fields");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void usersOfTheImageAreFoundInAllForms(String handler) throws Exception {
    Pod pod = new Pod(handler);
    for (var user :
        Map.of(
                "fields", "1000 1001 1001 50000",
                "fields:more", "1000 50000 50000",
                "1000", "1000 1001 1001 50000",
                "77", "77 0 0",
                "77:88", "77 88 88",
                "root:1001", "0 1001 1001")
            .entrySet()) {
      String name = user.getKey().replace(':', '-');
      String id =
          pod.start(Requests.container(name, variant("user-" + name, user.getKey()), List.of()));
      assertThat(
              List.of(status(id, "Uid").split("\t")[0], status(id, "Gid").split("\t")[0])
                  + " "
                  + groups(id))
          .as(user.getKey())
          .isEqualTo(expected(user.getValue().split(" ")));
    }
    assertThatThrownBy(() ->
            pod.start(Requests.container("none", variant("user-none", "nobodyknows"), List.of())))
        .hasMessageContaining("nobodyknows");
  }

  private static String expected(String... ids) {
    return List.of(ids[0], ids[1]) + " " + List.of(ids).subList(2, ids.length);
  }

  private String variant(String tag, String user) throws Exception {
    return pulled(
        new ImageVariant(registry, "process-fields-" + tag)
            .config("Entrypoint", Requests.SLEEP)
            .config("Cmd", List.of())
            .config("User", user)
            .files(accounts)
            .push());
  }

  private String pulled(String name) {
    var _ =
        daemon
            .client()
            .images()
            .pullImage(
                PullImageRequest.newBuilder()
                    .setImage(ImageSpec.newBuilder().setImage(name))
                    .build());
    return name;
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void capabilitiesAreTheUsualOnesWithWhatIsAddedAndDropped(String handler) throws Exception {
    Pod pod = new Pod(handler);
    ContainerConfig.Builder few = container("few");
    capabilities(few).addDropCapabilities("ALL").addAddCapabilities("net_bind_service");
    ContainerConfig.Builder most = container("most");
    capabilities(most).addAddCapabilities("ALL").addDropCapabilities("SYS_ADMIN");
    ContainerConfig.Builder ambient = container("ambient");
    security(ambient).setRunAsUser(id(1000));
    capabilities(ambient).addAddAmbientCapabilities("NET_BIND_SERVICE");

    assertCapabilities(pod.start(container("usual")), USUAL, USUAL, 0);
    assertCapabilities(pod.start(few), NET_BIND_SERVICE, NET_BIND_SERVICE, 0);
    long most64 = mask(ownStatus("CapEff")) & ~SYS_ADMIN;
    assertCapabilities(pod.start(most), most64, most64, 0);
    assertCapabilities(pod.start(ambient), USUAL, NET_BIND_SERVICE, NET_BIND_SERVICE);
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void privilegesAndSystemCallsAreLimitedOnlyOnDemand(String handler) throws Exception {
    Pod pod = new Pod(handler);
    ContainerConfig.Builder guarded = container("guarded");
    security(guarded)
        .setNoNewPrivs(true)
        .setSeccomp(
            SecurityProfile.newBuilder()
                .setProfileType(SecurityProfile.ProfileType.RuntimeDefault));
    String free = pod.start(container("free"));
    assertThat(status(free, "NoNewPrivs")).isEqualTo("0");
    assertThat(status(free, "Seccomp")).isEqualTo("0");
    String id = pod.start(guarded);
    assertThat(status(id, "NoNewPrivs")).isEqualTo("1");
    assertThat(status(id, "Seccomp")).isEqualTo("2");
    // Nothing in an exec that isn't in the container.
    assertThat(life.exec(id, "cat", "/proc/self/status")).contains("NoNewPrivs:\t1", "Seccomp:\t2");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void seccompProfileOfTheNodeMayNameCallsThatNobodyKnowsYet(String handler) throws Exception {
    Path profile =
        Files.writeString(
            daemon.folder().resolve("profile.json"),
            """
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
              {"names": ["mkdir", "mkdirat", "call_of_the_future"], "action": "SCMP_ACT_ERRNO",
               "errnoRet": 1}]}
            """);
    ContainerConfig.Builder container = container("main");
    security(container)
        .setSeccomp(
            SecurityProfile.newBuilder()
                .setProfileType(SecurityProfile.ProfileType.Localhost)
                .setLocalhostRef(profile.toString()));
    String id = new Pod(handler).start(container);
    assertThat(life.exec(id, "sh", "-c", "mkdir /tmp/x 2>&1 || echo refused"))
        .contains("not permitted", "refused");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void limitsAreOursAndNotThoseOfJava(String handler) throws Exception {
    String id = new Pod(handler).start(container("main"));
    long most = Long.parseLong(openFiles(Files.readString(Path.of("/proc/self/limits")))[1]);
    assertThat(openFiles(life.exec(id, "cat", "/proc/1/limits")))
        .containsExactly("1024", Long.toString(Math.min(most, 524288)));
    if (handler.equals("crun")) { // runc 1.1 gives its own to execs, as Go restores it at the end
      assertThat(openFiles(life.exec(id, "cat", "/proc/self/limits"))[0]).isEqualTo("1024");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void readOnlyRootAndHiddenPathsLeaveVolumesWritable(String handler) throws Exception {
    Path volume = Files.createDirectory(daemon.folder().resolve("volume-" + handler));
    ContainerConfig.Builder container =
        container("main")
            .addMounts(
                Mount.newBuilder().setHostPath(volume.toString()).setContainerPath("/volume"));
    security(container)
        .setReadonlyRootfs(true)
        .addMaskedPaths("/proc/interrupts")
        .addMaskedPaths("/sys/kernel")
        .addMaskedPaths("/proc/no-such-thing")
        .addReadonlyPaths("/proc/sys");
    Pod pod = new Pod(handler);
    String id = pod.start(container);
    assertThat(life.exec(id, "sh", "-c", "touch /x 2>&1 || true")).contains("Read-only");
    assertThat(life.exec(id, "sh", "-c", "touch /volume/x /dev/shm/x && echo fine"))
        .isEqualTo("fine\n");
    assertThat(life.exec(id, "cat", "/proc/interrupts")).isEmpty();
    assertThat(life.exec(id, "ls", "/sys/kernel")).isEmpty();
    assertThat(life.exec(id, "sh", "-c", "(: > /proc/sys/kernel/domainname) 2>&1 || true"))
        .contains("Read-only");
    assertThat(life.exec(id, "grep", " /proc/sys ", "/proc/mounts")).contains(" ro,");

    String open = pod.start(container("open"));
    assertThat(life.exec(open, "cat", "/proc/interrupts")).isNotEmpty();
    assertThat(life.exec(open, "cat", "/proc/mounts")).doesNotContain(" /proc/sys ");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void privilegedContainerHasAllThatTheDaemonHas(String handler) throws Exception {
    ContainerConfig.Builder container = container("main");
    security(container)
        .setPrivileged(true)
        .addMaskedPaths("/proc/interrupts")
        .addReadonlyPaths("/proc/sys")
        .setSeccomp(
            SecurityProfile.newBuilder()
                .setProfileType(SecurityProfile.ProfileType.RuntimeDefault));
    Pod pod = new Pod(handler);
    pod.config.getLinuxBuilder().getSecurityContextBuilder().setPrivileged(true);
    String id = pod.start(container);
    long all = mask(ownStatus("CapEff"));
    assertCapabilities(id, all, all, 0);
    assertThat(status(id, "Seccomp")).isEqualTo("0");
    assertThat(life.exec(id, "cat", "/proc/interrupts")).isNotEmpty();
    String mounts = life.exec(id, "cat", "/proc/mounts");
    assertThat(mounts).doesNotContain(" /proc/sys ").containsPattern(" /sys sysfs rw[, ]");
    List<String> devices = life.exec(id, "ls", "/dev").lines().toList();
    try (Stream<Path> nodes = Files.list(Path.of("/dev"))) {
      assertThat(devices)
          .containsAll(
              nodes
                  .filter(node -> !Files.isSymbolicLink(node) && isDevice(node))
                  .map(node -> node.getFileName().toString())
                  .toList());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void workingDirectoryIsMadeAndTheTerminationLogIsWritten(String handler) throws Exception {
    Path log = Files.createFile(daemon.folder().resolve("termination-" + handler));
    String id =
        new Pod(handler)
            .start(
                container("main")
                    .setWorkingDir("/made/for/it")
                    .addMounts(
                        Mount.newBuilder()
                            .setHostPath(log.toString())
                            .setContainerPath("/dev/termination-log")));
    assertThat(life.exec(id, "readlink", "/proc/1/cwd")).isEqualTo("/made/for/it\n");
    ContainerConfig.Builder readOnly = container("read-only").setWorkingDir("/made/in/vain");
    security(readOnly).setReadonlyRootfs(true).setRunAsUser(id(1000));
    assertThat(life.exec(new Pod(handler).start(readOnly), "sh", "-c", "pwd; touch x 2>&1 || true"))
        .startsWith("/made/in/vain\n")
        .contains("x: ");
    String ofImage = new Pod(handler).start(container("of-image"));
    assertThat(life.exec(ofImage, "readlink", "/proc/1/cwd")).isEqualTo("/of/the/image\n");
    assertThat(life.exec(id, "pwd")).isEqualTo("/made/for/it\n");
    life.exec(id, "sh", "-c", "echo farewell > /dev/termination-log");
    assertThat(log).hasContent("farewell");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void whoeverRunsMayOpenItsOutputAgain(String handler) throws Exception {
    Pod pod = new Pod(handler);
    String write = "echo out > /dev/stdout && echo err > /dev/stderr || echo refused; sleep 3600";
    ContainerConfig.Builder user = container("user").addCommand("sh").addArgs("-c").addArgs(write);
    security(user).setRunAsUser(id(1000));
    pod.start(user);
    // As programs do that begin as root and then give up what they don't need.
    pod.start(container("dropped").addCommand("su").addArgs("fields").addArgs("-c").addArgs(write));
    for (String name : List.of("user", "dropped")) {
      Path log = daemon.logs().resolve(handler).resolve(name + ".log");
      Await.until(
          name + " has written",
          SOON,
          () -> {
            String text = Files.readString(log);
            assertThat(text).doesNotContain("refused").doesNotContain("denied");
            return text.contains("stdout F out") && text.contains("stderr F err");
          });
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void stopSignalIsTheRequestsOrElseTheImages(String handler) throws Exception {
    Pod pod = new Pod(handler);
    ContainerStatus ofImage = life.status(pod.start(container("of-image")));
    ContainerStatus ofRequest =
        life.status(pod.start(container("of-request").setStopSignal(Signal.SIGNAL_SIGINT)));
    assertThat(ofImage.getStopSignal()).isEqualTo(Signal.SIGNAL_SIGUSR1);
    assertThat(ofRequest.getStopSignal()).isEqualTo(Signal.SIGNAL_SIGINT);
  }

  /** Of one handler, with its name. */
  private final class Pod {
    private final String handler;
    private final PodSandboxConfig.Builder config;

    Pod(String handler) {
      this.handler = handler;
      config = Requests.pod(daemon, handler);
    }

    /**
     * @return the container's id
     */
    @CanIgnoreReturnValue
    String start(ContainerConfig.Builder container) throws InterruptedException {
      PodSandboxConfig pod = config.build();
      // The same request gives the same pod.
      String id = life.create(life.run(pod, handler), pod, container.build());
      life.start(id);
      return id;
    }
  }

  private ContainerConfig.Builder container(String name) {
    return Requests.container(name, image, List.of());
  }

  private static LinuxContainerSecurityContext.Builder security(ContainerConfig.Builder container) {
    return container.getLinuxBuilder().getSecurityContextBuilder();
  }

  private static Capability.Builder capabilities(ContainerConfig.Builder container) {
    return security(container).getCapabilitiesBuilder();
  }

  private static KeyValue variable(String name, String value) {
    return KeyValue.newBuilder().setKey(name).setValue(ByteString.copyFromUtf8(value)).build();
  }

  private static Int64Value id(long value) {
    return Int64Value.newBuilder().setValue(value).build();
  }

  private static boolean isDevice(Path node) {
    try {
      int type = (int) Files.getAttribute(node, "unix:mode") & 0170000;
      return (type == 0020000 || type == 0060000)
          && !List.of("console", "ptmx").contains(node.getFileName().toString());
    } catch (IOException gone) {
      return false;
    }
  }

  private List<String> arguments(String id) throws InterruptedException {
    return zeroSeparated(id, "cmdline");
  }

  private List<String> zeroSeparated(String id, String file) throws InterruptedException {
    return List.of(life.exec(id, "cat", "/proc/1/" + file).split("\0"));
  }

  /** A line of the first process's /proc/PID/status. */
  private String status(String id, String name) throws InterruptedException {
    return line(life.exec(id, "cat", "/proc/1/status"), name);
  }

  private static String ownStatus(String name) throws IOException {
    return line(Files.readString(Path.of("/proc/self/status")), name);
  }

  private static String line(String status, String name) {
    return status
        .lines()
        .filter(line -> line.startsWith(name + ":"))
        .map(line -> line.substring(name.length() + 1).strip())
        .findFirst()
        .orElseThrow(() -> new AssertionError("no " + name + " in " + status));
  }

  private List<String> groups(String id) throws InterruptedException {
    return List.of(status(id, "Groups").split(" "));
  }

  /** Soft and hard. */
  private static String[] openFiles(String limits) {
    String[] words =
        limits
            .lines()
            .filter(line -> line.startsWith("Max open files"))
            .findFirst()
            .orElseThrow()
            .split("\\s+");
    return new String[] {words[3], words[4]};
  }

  private static long mask(String hexadecimal) {
    return Long.parseUnsignedLong(hexadecimal, 16);
  }

  private void assertCapabilities(String id, long bounding, long effective, long ambient)
      throws InterruptedException {
    assertThat(
            Map.of(
                "bounding", mask(status(id, "CapBnd")),
                "effective", mask(status(id, "CapEff")),
                "inheritable", mask(status(id, "CapInh")),
                "ambient", mask(status(id, "CapAmb"))))
        .isEqualTo(
            Map.of(
                "bounding", bounding,
                "effective", effective,
                "inheritable", ambient,
                "ambient", ambient));
  }
}
