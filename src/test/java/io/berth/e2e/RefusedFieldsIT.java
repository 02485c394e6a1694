package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.Device;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.Int64Value;
import io.berth.cri.v1.LinuxContainerSecurityContext;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.NamespaceOption;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.SecurityProfile;
import io.berth.cri.v1.SecurityProfile.ProfileType;
import io.berth.cri.v1.WindowsContainerConfig;
import io.berth.cri.v1.WindowsPodSandboxConfig;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * What a pod or a container can't have is refused when it is made, in words that name it: never
 * passed over in silence. The same name is free for the corrected request.
 */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class RefusedFieldsIT {
  private static final Duration SOON = Duration.ofSeconds(60);

  private final DockerRegistry registry;
  private final BerthDaemon daemon;
  private final PodLife life;

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  RefusedFieldsIT(DockerRegistry registry) throws Exception {
    this.registry = registry;
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
    pull(Requests.BUSYBOX);
  }

  private void pull(String name) {
    var _ =
        daemon
            .client()
            .images()
            .pullImage(
                PullImageRequest.newBuilder()
                    .setImage(ImageSpec.newBuilder().setImage(name))
                    .build());
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

  private static Arguments pod(String name, String words, Consumer<PodSandboxConfig.Builder> edit) {
    return Arguments.of(name, words, edit);
  }

  private static Consumer<PodSandboxConfig.Builder> namespaces(
      Consumer<NamespaceOption.Builder> edit) {
    return pod ->
        edit.accept(pod.getLinuxBuilder().getSecurityContextBuilder().getNamespaceOptionsBuilder());
  }

  static Stream<Arguments> pods() {
    return Stream.of(
        pod(
            "a group without a user",
            "run_as_group is set without run_as_user",
            pod -> pod.getLinuxBuilder().getSecurityContextBuilder().setRunAsGroup(number(1000))),
        pod(
            "a network of a container",
            "the network namespace can be the pod's or the machine's, not CONTAINER",
            namespaces(options -> options.setNetwork(NamespaceMode.CONTAINER))),
        pod(
            "an IPC namespace of another",
            "the ipc namespace can be the pod's or the machine's, not TARGET",
            namespaces(options -> options.setIpc(NamespaceMode.TARGET))),
        pod(
            "processes of another",
            "a sandbox has no target container",
            namespaces(options -> options.setPid(NamespaceMode.TARGET))),
        pod(
            "a part for Windows",
            "it has a Windows part",
            pod -> pod.setWindows(WindowsPodSandboxConfig.getDefaultInstance())),
        pod(
            "a kernel parameter with a line too many",
            "net.core.somaxconn",
            pod -> pod.getLinuxBuilder().putSysctls("net.core.somaxconn", "1\n2")));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("pods")
  void ofAPod(String name, String words, Consumer<PodSandboxConfig.Builder> edit) throws Exception {
    PodSandboxConfig.Builder wrong = Requests.pod(daemon, "pod");
    edit.accept(wrong);
    assertInvalid(() -> life.run(wrong.build()), words);
    assertThat(life.run(Requests.pod(daemon, "pod").build())).hasSize(64);
  }

  private static Arguments container(
      String name, String words, Consumer<ContainerConfig.Builder> edit) {
    return Arguments.of(name, words, edit);
  }

  private static Arguments security(
      String name, String words, Consumer<LinuxContainerSecurityContext.Builder> edit) {
    return container(
        name,
        words,
        container -> edit.accept(container.getLinuxBuilder().getSecurityContextBuilder()));
  }

  private static Arguments mount(String name, String words, Mount.Builder mount) {
    return container(name, words, container -> container.addMounts(mount));
  }

  static Stream<Arguments> containers() {
    return Stream.of(
        container("a NUL in an argument", "holds a NUL byte", config -> config.addArgs("a\0b")),
        container(
            "a part for Windows",
            "it has a Windows part",
            config -> config.setWindows(WindowsContainerConfig.getDefaultInstance())),
        container(
            "a signal that isn't",
            "none that CRI v1 knows",
            config -> config.setStopSignalValue(66)),
        security(
            "a group without a user",
            "run_as_group",
            context -> context.setRunAsGroup(number(1000))),
        security("a user below 0", "-1", context -> context.setRunAsUser(number(-1))),
        security(
            "a user of no name in the image",
            "\"stranger\"",
            context -> context.setRunAsUsername("stranger")),
        security(
            "a supplemental group out of range",
            "4294967296",
            context -> context.addSupplementalGroups(1L << 32)),
        security(
            "a groups policy that isn't",
            "supplemental groups policy",
            context -> context.setSupplementalGroupsPolicyValue(7)),
        security(
            "a capability that isn't",
            "capability \"FLY\" doesn't exist",
            context -> context.getCapabilitiesBuilder().addAddCapabilities("FLY")),
        security(
            "an ambient capability that isn't",
            "capability \"FLY\" doesn't exist",
            context -> context.getCapabilitiesBuilder().addAddAmbientCapabilities("FLY")),
        security(
            "a dropped capability that isn't",
            "capability \"FLY\" doesn't exist",
            context -> context.getCapabilitiesBuilder().addDropCapabilities("FLY")),
        security(
            "privileges that its pod hasn't",
            "it is privileged, but sandbox",
            context -> context.setPrivileged(true)),
        security(
            "the machine's network in a pod with its own",
            "it asks for the machine's network",
            context -> context.getNamespaceOptionsBuilder().setNetwork(NamespaceMode.NODE)),
        security(
            "an IPC namespace of its own",
            "the mode of the IPC namespace must be POD or NODE",
            context -> context.getNamespaceOptionsBuilder().setIpc(NamespaceMode.CONTAINER)),
        security(
            "the PID namespace of a pod that has none",
            "ask for the same PID mode as the pod",
            context -> context.getNamespaceOptionsBuilder().setPid(NamespaceMode.POD)),
        security(
            "a seccomp profile that is missing",
            "/no/such/profile.json",
            context -> context.setSeccomp(localhost("/no/such/profile.json"))),
        security(
            "a seccomp profile without its folder",
            "it must be an absolute path",
            context -> context.setSeccomp(localhost("profile.json"))),
        container(
            "a device that is missing",
            "/dev/no-such-device doesn't exist on this machine",
            config -> config.addDevices(device("/dev/no-such-device", "rwm"))),
        container(
            "a device with other permissions",
            "aren't some of r, w, m",
            config -> config.addDevices(device("/dev/null", "rwx"))),
        container(
            "a file as a device",
            "neither a device nor a folder of devices",
            config -> config.addDevices(device("/etc/hostname", "rwm"))),
        mount("a mount upon nothing", "mount", Mount.newBuilder().setHostPath("/usr")),
        mount(
            "a mount of neither folder nor image",
            "/nothing",
            Mount.newBuilder().setContainerPath("/nothing")),
        mount("an option that isn't for volumes", "suid", usr().addMountOptions("suid")),
        mount("a propagation that isn't", "none that CRI v1 knows", usr().setPropagationValue(9)),
        mount("recursively read-only but writable", "recursive", usr().setRecursiveReadOnly(true)));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("containers")
  void ofAContainer(String name, String words, Consumer<ContainerConfig.Builder> edit)
      throws Exception {
    PodSandboxConfig pod = Requests.pod(daemon, name.replace(' ', '-')).setHostname("").build();
    String podId = life.run(pod);
    ContainerConfig.Builder wrong = sleeper();
    edit.accept(wrong);
    assertInvalid(() -> life.create(podId, pod, wrong.build()), words);
    assertThat(daemon.crictl().run("ps", "-a", "-q")).isEmpty();
    assertThat(Path.of(pod.getLogDirectory(), "main.log")).doesNotExist();

    life.start(life.create(podId, pod, sleeper().build()));
  }

  @Test
  void ofAnImageWithoutACommand() throws Exception {
    String image =
        new ImageVariant(registry, "no-command")
            .config("Entrypoint", List.of())
            .config("Cmd", List.of())
            .push();
    pull(image);
    PodSandboxConfig pod = Requests.pod(daemon, "no-command").build();
    String podId = life.run(pod);
    assertInvalid(
        () -> life.create(podId, pod, Requests.container("main", image, List.of()).build()),
        "neither the request nor the image names a command");
    life.start(life.create(podId, pod, Requests.container("main", image, Requests.SLEEP).build()));
  }

  /** By the code of what the client can mend, or of what this node can't do. */
  private static void assertInvalid(ThrowingCallable call, String words) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            StatusRuntimeException.class,
            e ->
                assertThat(e.getStatus().getCode())
                    .isIn(Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION))
        .hasMessageContaining(words);
  }

  private static ContainerConfig.Builder sleeper() {
    return Requests.container("main", Requests.BUSYBOX, Requests.SLEEP);
  }

  private static Mount.Builder usr() {
    return Mount.newBuilder().setHostPath("/usr").setContainerPath("/machine/usr");
  }

  private static Device device(String path, String permissions) {
    return Device.newBuilder()
        .setHostPath(path)
        .setContainerPath("/dev/mine")
        .setPermissions(permissions)
        .build();
  }

  private static SecurityProfile localhost(String file) {
    return SecurityProfile.newBuilder()
        .setProfileType(ProfileType.Localhost)
        .setLocalhostRef(file)
        .build();
  }

  private static Int64Value number(long value) {
    return Int64Value.newBuilder().setValue(value).build();
  }
}
