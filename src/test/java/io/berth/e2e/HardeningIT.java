package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.protobuf.ByteString;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.CreateContainerRequest;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.KeyValue;
import io.berth.cri.v1.ListContainersRequest;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PullImageRequest;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Attacks that have worked on other runtimes, tried at the daemon's socket. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@TestMethodOrder(MethodOrderer.Random.class)
class HardeningIT {
  private static final Duration SOON = Duration.ofSeconds(60);
  private static final long HUGE = 1L << 30;
  private static final long FLAT = 64L << 20;

  private final DockerRegistry registry;
  private final BerthDaemon daemon;
  private final PodLife life;
  @TempDir Path files;

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  HardeningIT(DockerRegistry registry) throws Exception {
    this.registry = registry;
    daemon = BerthDaemon.with().registry(registry.address()).umask("000").start();
    life = new PodLife(daemon.socket(), SOON::toMillis);
    var _ = pull(Requests.BUSYBOX);
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

  /** CVE-2026-53488. */
  @Test
  void labelsOfAnImageMeanNothing() throws Exception {
    String image =
        pull(
            new ImageVariant(registry, "labels")
                .config(
                    "Labels",
                    Map.of(
                        "io.kubernetes.cri.sandbox-id", "canary-1",
                        "io.kubernetes.cri.container-type", "canary-2",
                        "io.cri-containerd.kind", "canary-3",
                        "io.containerd.image.config.stop-signal", "canary-4",
                        "org.systemd.property.ExecStartPre", "canary-5",
                        "run.oci.hooks.stderr", "canary-6",
                        "cdi.k8s.io/x", "vendor.example/canary=7")));
    assertThat(specification(start("labels", Requests.container("main", image, Requests.SLEEP))))
        .doesNotContain("canary");
  }

  /** CVE-2024-3154 of CRI-O. */
  @Test
  void annotationsThatRuntimesObeyStayInTheStatus() throws Exception {
    Map<String, String> orders =
        Map.of(
            "org.systemd.property.ExecStartPre", "['/bin/canary']",
            "run.oci.keep_original_groups", "canary",
            "io.kubernetes.cri.sandbox-id", "canary");
    PodSandboxConfig pod = Requests.pod(daemon, "annotations").putAllAnnotations(orders).build();
    String id = life.create(life.run(pod), pod, sleeper().putAllAnnotations(orders).build());
    assertThat(specification(id)).doesNotContain("canary", "systemd", "keep_original_groups");
    assertThat(life.status(id).getAnnotationsMap()).isEqualTo(orders);
  }

  /** CVE-2024-40635 and CVE-2026-46680. */
  @Test
  void userBeyondTheRangeIsRefusedEvenIfTheImageCallsRootSo() throws Exception {
    List<String> tooLarge = List.of("2147483648", "4294967296", "18446744073709551616");
    Path etc = Files.createDirectory(files.resolve("etc"));
    StringBuilder passwd = new StringBuilder("root:x:0:0:root:/root:/bin/sh\n");
    tooLarge.forEach(name -> passwd.append(name + ":x:0:0::/root:/bin/sh\n"));
    Files.writeString(etc.resolve("passwd"), passwd);
    for (String user : tooLarge) {
      for (String form : List.of(user, user + ":0", "0:" + user)) {
        String image =
            pull(
                new ImageVariant(registry, "user-" + form.replace(':', '-'))
                    .config("User", form)
                    .files(files));
        refuses(Requests.container("main", image, Requests.SLEEP), user, "from 0 to 2147483647");
      }
    }
  }

  /** CVE-2026-47262, and CVE-2025-4437 of CRI-O. */
  @Test
  void hugeAccountFileIsRefusedAndNotReadWhole() throws Exception {
    Path etc = Files.createDirectory(files.resolve("etc"));
    for (String account : List.of("passwd", "group")) {
      Files.deleteIfExists(etc.resolve("passwd"));
      Files.deleteIfExists(etc.resolve("group"));
      Files.writeString(etc.resolve("passwd"), "root:x:0:0::/:/bin/sh\nuser:x:1:1::/:/bin/sh\n");
      try (var file = new RandomAccessFile(etc.resolve(account).toFile(), "rw")) {
        file.setLength(HUGE); // sparse, and one line without an end
      }
      String image = pull(new ImageVariant(registry, "huge-" + account).files(files));
      ContainerConfig.Builder named = Requests.container("main", image, Requests.SLEEP);
      named.getLinuxBuilder().getSecurityContextBuilder().setRunAsUsername("user");
      refuses(named, "/etc/" + account + " is longer than");
      long before = residentBytes();
      for (int i = 0; i < 5; i++) {
        refuses(named, "/etc/" + account + " is longer than");
      }
      assertThat(residentBytes() - before).isLessThan(FLAT);
    }
  }

  /** CVE-2022-4318 and CVE-2026-15809 of CRI-O. */
  @Test
  void whatCouldBecomeLinesOfAnAccountFileIsRefused() throws Exception {
    for (String bad : List.of("/x\nroot2:x:0:0", "/x\rroot2", "/x:0:0")) {
      refuses(
          sleeper()
              .addEnvs(KeyValue.newBuilder().setKey("HOME").setValue(ByteString.copyFromUtf8(bad))),
          "HOME holds a line break or a colon");
      refuses(sleeper().setWorkingDir(bad), "the working directory holds a line break or a colon");
    }
    String home =
        pull(new ImageVariant(registry, "home").config("Env", List.of("HOME=/x\nr:x:0:0")));
    refuses(Requests.container("main", home, Requests.SLEEP), "HOME holds a line break or a colon");
    String folder = pull(new ImageVariant(registry, "folder").config("WorkingDir", "/x\nr:x:0:0"));
    refuses(
        Requests.container("main", folder, Requests.SLEEP),
        "the working directory holds a line break or a colon");
    String account = pull(new ImageVariant(registry, "account").config("User", "root\nr:x:0:0"));
    refuses(Requests.container("main", account, Requests.SLEEP), "control characters");
    ContainerConfig.Builder user = sleeper();
    user.getLinuxBuilder().getSecurityContextBuilder().setRunAsUsername("root\nroot2");
    refuses(user, "control characters");
  }

  /** CVE-2024-21626. */
  @Test
  void workingDirectoryBehindAnOpenFileIsRefused() throws Exception {
    String image =
        pull(new ImageVariant(registry, "leaked").config("WorkingDir", "/proc/self/fd/7"));
    refuses(
        Requests.container("main", image, Requests.SLEEP),
        "leads to open files of another process");
    for (String folder :
        List.of("/proc/self/fd/8", "/proc/1/cwd", "/tmp/../proc/self/./fd/9", "/dev/fd/3")) {
      refuses(sleeper().setWorkingDir(folder), "leads to open files of another process");
    }
  }

  @Test
  void containersAndExecsHaveNoFilesOpenButTheirStreams() throws Exception {
    String id =
        start("open-files", Requests.container("main", Requests.BUSYBOX, List.of("sleep", "3600")));
    assertThat(life.exec(id, "ls", "/proc/1/fd").lines()).containsExactly("0", "1", "2");
    // A shell that runs something else keeps nothing open of its own.
    assertThat(life.exec(id, "sh", "-c", "ls /proc/$$/fd; true").lines())
        .containsExactly("0", "1", "2");
  }

  /** CVE-2024-25621: the daemon runs with the most generous umask. */
  @Test
  void stateIsClosedToOthersWhateverTheUmask() throws Exception {
    String id = start("state", sleeper());
    assertClosed();
    // As earlier versions left it.
    daemon.stop();
    Files.setPosixFilePermissions(
        daemon.runFolder().resolve("sandboxes"), PosixFilePermissions.fromString("rwxr-xr-x"));
    daemon.restart();
    assertClosed();
    assertThat(others(daemon.socket())).isEmpty();
    // It isn't empty for want of files.
    assertThat(daemon.runFolder().resolve("containers").resolve(id).resolve("config.json"))
        .exists();
  }

  private void assertClosed() throws IOException {
    List<Path> open = new ArrayList<>();
    for (Path top : List.of(daemon.runFolder(), daemon.rootFolder())) {
      walk(top, open);
    }
    assertThat(open).as("what others can open").isEmpty();
  }

  /** What others could open by its path; the way to it may be open, as for user namespaces. */
  private static void walk(Path path, List<Path> open) throws IOException {
    if (Files.isSymbolicLink(path) || path.getFileName().toString().equals("rootfs")) {
      return;
    }
    Set<PosixFilePermission> others = others(path);
    if (others.contains(PosixFilePermission.OTHERS_READ)
        || others.contains(PosixFilePermission.OTHERS_WRITE)) {
      open.add(path);
    }
    if (Files.isDirectory(path) && others.contains(PosixFilePermission.OTHERS_EXECUTE)) {
      for (Path child : Leftovers.entries(path)) {
        walk(child, open);
      }
    }
  }

  private static Set<PosixFilePermission> others(Path path) throws IOException {
    Set<PosixFilePermission> others = Files.getPosixFilePermissions(path);
    others.retainAll(PosixFilePermissions.fromString("------rwx"));
    return others;
  }

  private String start(String podName, ContainerConfig.Builder container)
      throws InterruptedException {
    PodSandboxConfig pod = Requests.pod(daemon, podName).build();
    String id = life.create(life.run(pod), pod, container.build());
    life.start(id);
    return id;
  }

  private void refuses(ContainerConfig.Builder container, String... words)
      throws InterruptedException {
    PodSandboxConfig pod = Requests.pod(daemon, "refuser").build();
    String podId = life.run(pod);
    try {
      String id =
          daemon
              .client()
              .runtime()
              .createContainer(
                  CreateContainerRequest.newBuilder()
                      .setPodSandboxId(podId)
                      .setSandboxConfig(pod)
                      .setConfig(container)
                      .build())
              .getContainerId();
      throw new AssertionError("made container " + id + " instead of refusing: " + container);
    } catch (StatusRuntimeException refusal) {
      String said = String.valueOf(refusal.getStatus().getDescription());
      assertThat(refusal.getStatus().getCode()).as(said).isEqualTo(Code.INVALID_ARGUMENT);
      assertThat(said).contains(words).doesNotContain("\n", "\r");
    }
    assertThat(
            daemon
                .client()
                .runtime()
                .listContainers(ListContainersRequest.getDefaultInstance())
                .getContainersList())
        .isEmpty();
  }

  private static ContainerConfig.Builder sleeper() {
    return Requests.container("main", Requests.BUSYBOX, Requests.SLEEP);
  }

  private String pull(ImageVariant variant) throws IOException, InterruptedException {
    return pull(variant.push());
  }

  private String pull(String name) {
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

  /** What the OCI runtime was given. */
  private String specification(String id) throws IOException {
    return Files.readString(
        daemon.runFolder().resolve("containers").resolve(id).resolve("config.json"));
  }

  private long residentBytes() throws IOException {
    return Files.readAllLines(Path.of("/proc", Long.toString(daemon.pid()), "status")).stream()
        .filter(line -> line.startsWith("VmRSS:"))
        .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) << 10)
        .findFirst()
        .orElseThrow();
  }
}
