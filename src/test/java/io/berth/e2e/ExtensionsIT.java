package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.errorprone.annotations.CanIgnoreReturnValue;
import io.berth.cri.v1.CDIDevice;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.Device;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.Int64Value;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PullImageRequest;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What vendors and administrators add to containers, with each OCI runtime: devices, their CDI
 * files, hooks, and other runtimes.
 */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@TestMethodOrder(MethodOrderer.Random.class)
class ExtensionsIT {
  private static final Duration SOON = Duration.ofSeconds(60);

  /** Of /dev/fuse, which no runtime gives to containers by itself. */
  private static final String FUSE = "10,229";

  private final BerthDaemon daemon;
  private final PodLife life;
  private final Path cdi;
  private final Path hooks;
  private final Path sandboxed;
  private final Path classes;

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  ExtensionsIT(DockerRegistry registry, @TempDir Path folder) throws Exception {
    cdi = Files.createDirectory(folder.resolve("cdi"));
    hooks = Files.createDirectory(folder.resolve("hooks"));
    sandboxed = Files.createDirectory(folder.resolve("sandboxed"));
    classes = folder.resolve("blockio.yaml");
    Path runc = TestTools.installed("runc", "runc");
    Path program = script(sandboxed.resolve("sandboxed"), sandboxedRuntime(runc));
    daemon =
        BerthDaemon.with()
            .registry(registry.address())
            .runtime("runc", runc)
            .config(
                """
                [containers]
                cdi_spec_dirs = ["%s"]
                hooks_dirs = ["%s"]
                device_ownership_from_security_context = true
                blockio_config_file = "%s"
                [runtimes.sandboxed]
                path = "%s"
                environment = { SANDBOX_LEVEL = "high" }
                allowed_annotations = ["io.sandboxed.*"]
                privileged_without_host_devices = true
                """
                    .formatted(cdi, hooks, classes, program))
            .withoutUnifiedCgroups()
            .start();
    life = new PodLife(daemon.socket(), SOON::toMillis);
  }

  /**
   * The command line by which runsc, kata-runtime and their like are called: it refuses all else.
   * Behind it stands runc.
   */
  private String sandboxedRuntime(Path runc) {
    return """
    #!/bin/sh
    echo "$SANDBOX_LEVEL $*" >> %1$s/calls
    [ "$1" = --version ] && exec echo sandboxed version 1.0
    case "$1" in --root=*) root=$1; shift ;; esac
    case "$1" in
      create|start|state|kill|delete|exec|update|pause|resume|events|ps) exec %2$s "$root" "$@" ;;
      *) echo "unknown command $1" >&2; exit 128 ;;
    esac
    """
        .formatted(sandboxed, runc);
  }

  @BeforeEach
  void imageIsThere() {
    var _ =
        daemon
            .client()
            .images()
            .pullImage(
                PullImageRequest.newBuilder()
                    .setImage(ImageSpec.newBuilder().setImage(Requests.BUSYBOX))
                    .build());
  }

  @AfterEach
  void nothingIsLeft() throws Exception {
    for (Path folder : List.of(cdi, hooks)) {
      for (Path file : Leftovers.entries(folder)) {
        Files.delete(file);
      }
    }
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
  void folderOfDevicesIsThereForItsUserAndNoOtherDeviceIs(String handler) throws Exception {
    Path folder = Files.createDirectory(daemon.folder().resolve("devices-" + handler));
    node(folder.resolve("fuse"));
    Files.createSymbolicLink(folder.resolve("link"), Path.of("fuse"));
    ContainerConfig.Builder container =
        sleeper()
            .addDevices(
                Device.newBuilder()
                    .setHostPath(folder.toString())
                    .setContainerPath("/dev/mine")
                    .setPermissions("rw"))
            .addDevices(
                Device.newBuilder()
                    .setHostPath(folder.resolve("link").toString())
                    .setContainerPath("/dev/followed")
                    .setPermissions("r"));
    container
        .getLinuxBuilder()
        .getSecurityContextBuilder()
        .setRunAsUser(Int64Value.newBuilder().setValue(1000))
        .setRunAsGroup(Int64Value.newBuilder().setValue(1000));
    String id = start(handler, container);
    for (String path : List.of("/dev/mine/fuse", "/dev/followed")) {
      assertThat(life.exec(id, "stat", "-c", "%F %t,%T %u:%g", path))
          .isEqualTo("character special file a,e5 1000:1000\n");
    }
    // It may be opened, whatever its driver says; the one beside it, which wasn't given, may not.
    assertThat(open(id, "/dev/followed")).doesNotContain("not permitted");
    String other = start(handler, sleeper("other"));
    life.exec(other, "mknod", "/tmp/fuse", "c", "10", "229");
    assertThat(open(other, "/tmp/fuse")).contains("not permitted");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void deviceOfAVendorComesWithAllThatItsFileSays(String handler) throws Exception {
    Path real = node(daemon.folder().resolve("accelerator-" + handler));
    Path library = Files.createDirectory(daemon.folder().resolve("library-" + handler));
    Files.writeString(library.resolve("version"), "7\n");
    Path seen = daemon.folder().resolve("seen-by-vendor-" + handler);
    Path hook = script(daemon.folder().resolve("hook-" + handler), "#!/bin/sh\ncat > " + seen);
    ContainerConfig.Builder byField =
        sleeper().addCDIDevices(CDIDevice.newBuilder().setName("vendor.example/accelerator=first"));
    assertThatThrownBy(() -> start(handler, byField))
        .isInstanceOf(StatusRuntimeException.class)
        .hasMessageContaining("CDI device \"vendor.example/accelerator=first\" isn't described in");

    Files.writeString(
        cdi.resolve("vendor.yaml"),
        """
        cdiVersion: "0.6.0"
        kind: vendor.example/accelerator
        containerEdits:
          env: [VENDOR=example]
        devices:
          - name: first
            containerEdits:
              deviceNodes:
                - {path: /dev/accelerator0, hostPath: %s, permissions: rw}
              mounts:
                - {hostPath: %s, containerPath: /opt/vendor, options: [ro, nosuid]}
              hooks:
                - {hookName: createRuntime, path: %s, args: [hook]}
              env: [ACCELERATOR=0]
        """
            .formatted(real, library, hook));
    String id = start(handler, byField);
    assertDevice(id);
    assertThat(Files.readString(seen)).contains(id);
    String annotated =
        start(
            handler,
            sleeper("annotated")
                .putAnnotations("cdi.k8s.io/plugin", "vendor.example/accelerator=first")
                .addCDIDevices(CDIDevice.newBuilder().setName("vendor.example/accelerator=first")));
    assertDevice(annotated);
    assertThat(life.status(annotated).getAnnotationsMap()).containsKey("cdi.k8s.io/plugin");
  }

  private void assertDevice(String id) throws InterruptedException {
    assertThat(life.exec(id, "stat", "-c", "%t,%T", "/dev/accelerator0")).isEqualTo("a,e5\n");
    assertThat(open(id, "/dev/accelerator0")).doesNotContain("not permitted");
    assertThat(life.exec(id, "cat", "/opt/vendor/version")).isEqualTo("7\n");
    assertThat(life.exec(id, "sh", "-c", "touch /opt/vendor/x 2>&1 || true")).contains("Read-only");
    assertThat(life.exec(id, "env")).contains("VENDOR=example", "ACCELERATOR=0");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void hookRunsForTheContainersThatItsFileMeans(String handler) throws Exception {
    Path seen = daemon.folder().resolve("seen-by-hook-" + handler);
    Path hook = script(daemon.folder().resolve("guard-" + handler), "#!/bin/sh\ncat >> " + seen);
    Path ended = daemon.folder().resolve("ended-" + handler);
    Path last = script(daemon.folder().resolve("last-" + handler), "#!/bin/sh\ncat >> " + ended);
    Files.writeString(hooks.resolve("10-guard.json"), rule(hook, "prestart"));
    Files.writeString(hooks.resolve("20-last.json"), rule(last, "poststop"));
    String without = start(handler, sleeper("without"));
    String with = start(handler, sleeper("with").putAnnotations("example.com/guard", "yes"));
    assertThat(Files.readString(seen)).contains(with).doesNotContain(without);
    life.remove(with);
    assertThat(Files.readString(ended)).contains(with);

    Files.writeString(hooks.resolve("30-broken.json"), "{");
    assertThatThrownBy(() -> start(handler, sleeper("unlucky")))
        .isInstanceOf(StatusRuntimeException.class)
        .hasMessageContaining("30-broken.json");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void classOfBlockDeviceLimitsIsWhatTheCgroupHas(String handler) throws Exception {
    Path disk = blockDevice();
    Files.writeString(
        classes,
        "Classes: {slow: [{Devices: ['%s*'], ThrottleReadBps: 512Mi, ThrottleWriteIOPS: 5k}]}"
            .formatted(disk));
    PodSandboxConfig pod =
        Requests.pod(daemon, handler)
            .putAnnotations("blockio.resources.beta.kubernetes.io/container.slow", "slow")
            .putAnnotations("blockio.resources.beta.kubernetes.io/container.wrong", "unknown")
            .build();
    String podId = life.run(pod, handler);
    String numbers = Files.readString(Path.of("/sys/class/block", "" + disk.getFileName(), "dev"));
    String slow = life.create(podId, pod, sleeper("slow").build());
    life.start(slow);
    assertThat(limits(slow))
        .contains(numbers.strip())
        .contains(Integer.toString(512 << 20), "5000");
    String other = life.create(podId, pod, sleeper("other").build());
    life.start(other);
    assertThat(limits(other)).doesNotContain(Integer.toString(512 << 20));
    assertThatThrownBy(() -> life.create(podId, pod, sleeper("wrong").build()))
        .isInstanceOf(StatusRuntimeException.class)
        .hasMessageContaining("block I/O class \"unknown\" isn't defined in " + classes);
  }

  private static Path blockDevice() throws IOException {
    try (var disks = Files.list(Path.of("/sys/block"))) {
      return disks
          .map(disk -> Path.of("/dev").resolve("" + disk.getFileName()))
          .filter(Files::exists)
          .filter(disk -> disk.toString().matches("/dev/(vd|sd|xvd|nvme|loop).*"))
          .sorted(Comparator.comparing((Path disk) -> disk.toString().startsWith("/dev/loop")))
          .findFirst()
          .orElseThrow(() -> TestTools.missing("a block device"));
    }
  }

  /** On cgroup v1 and v2. */
  private String limits(String id) throws InterruptedException {
    return life.exec(
        id,
        "sh",
        "-c",
        "cd /sys/fs/cgroup; cat io.max blkio/blkio.throttle.read_bps_device"
            + " blkio/blkio.throttle.write_iops_device 2> /dev/null || true");
  }

  private static String rule(Path program, String stage) {
    return """
    {"version": "1.0.0", "hook": {"path": "%s"}, "stages": ["%s"],
     "when": {"annotations": {"^example\\\\.com/guard$": "^yes$"}}}
    """
        .formatted(program, stage);
  }

  @Test
  void runtimeThatIsNeitherRuncNorCrunRunsPodsByTheCommandLineOfBoth() throws Exception {
    PodSandboxConfig.Builder pod =
        Requests.pod(daemon, "sandboxed").putAnnotations("io.sandboxed.platform", "kvm");
    pod.getLinuxBuilder().getSecurityContextBuilder().setPrivileged(true);
    ContainerConfig.Builder container = sleeper();
    container.getLinuxBuilder().getSecurityContextBuilder().setPrivileged(true);
    String podId = life.run(pod.build(), "sandboxed");
    String id = life.create(podId, pod.build(), container.build());
    life.start(id);
    assertThat(life.exec(id, "echo", "hello")).isEqualTo("hello\n");
    assertThat(life.exec(id, "ls", "/dev").lines()).doesNotContain("fuse", "kmsg", "loop-control");
    assertThat(
            Files.readString(
                daemon.runFolder().resolve("containers").resolve(id).resolve("config.json")))
        .contains("\"io.sandboxed.platform\":\"kvm\"");
    assertThatThrownBy(() -> life.create(podId, pod.build(), recursivelyReadOnly()))
        .isInstanceOfSatisfying(
            StatusRuntimeException.class,
            e ->
                assertThat(e.getStatus().getDescription())
                    .as("what the kubelet looks for")
                    .startsWith("RROUnsupported: "));
    life.stop(id, 10);
    life.remove(id);
    assertThat(Files.readString(sandboxed.resolve("calls")).lines())
        .filteredOn(call -> call.contains("--root="))
        .allMatch(call -> call.startsWith("high "))
        .anyMatch(call -> call.contains(" create "))
        .anyMatch(call -> call.contains(" start " + id))
        .anyMatch(call -> call.contains(" delete "));
  }

  private static ContainerConfig recursivelyReadOnly() {
    return sleeper("recursive")
        .addMounts(
            Mount.newBuilder()
                .setHostPath("/usr")
                .setContainerPath("/machine/usr")
                .setReadonly(true)
                .setRecursiveReadOnly(true))
        .build();
  }

  @CanIgnoreReturnValue
  private String start(String handler, ContainerConfig.Builder container)
      throws InterruptedException {
    PodSandboxConfig pod = Requests.pod(daemon, handler).build();
    String id = life.create(life.run(pod, handler), pod, container.build());
    life.start(id);
    return id;
  }

  private String open(String id, String device) throws InterruptedException {
    return life.exec(id, "sh", "-c", "(: < " + device + ") 2>&1 || true");
  }

  private static ContainerConfig.Builder sleeper() {
    return sleeper("main");
  }

  private static ContainerConfig.Builder sleeper(String name) {
    return Requests.container(name, Requests.BUSYBOX, Requests.SLEEP);
  }

  @CanIgnoreReturnValue
  private static Path node(Path path) throws InterruptedException {
    String[] numbers = FUSE.split(",");
    Commands.run(
        List.of(
            TestTools.installed("mknod", "coreutils").toString(),
            path.toString(),
            "c",
            numbers[0],
            numbers[1]));
    return path;
  }

  private static Path script(Path path, String text) throws IOException {
    Files.writeString(path, text);
    return Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("rwxr-xr-x"));
  }
}
