package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.berth.linux.RootedTree;
import io.berth.linux.Subprocess;
import io.berth.oci.Json;
import io.berth.runtime.ContainerConfig.Device;
import io.berth.runtime.ContainerConfig.Propagation;
import io.berth.sandbox.NamespaceMode;
import io.berth.sandbox.NamespaceModes;
import io.berth.sandbox.SandboxSecurity.SecurityProfile;
import io.berth.sandbox.SandboxSecurity.SecurityProfile.Kind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What our configurations mean, as seen from within containers of real OCI runtimes. */
@Tag("root")
class RealRuncTest {
  private static final Path BUSYBOX = Path.of("/bin/busybox");

  @TempDir Path folder;
  private final SpecBuilder builder = RequestFixture.specs(SpecSettings.PLAIN);
  private final RequestFixture pod = new RequestFixture();

  enum Binary {
    RUNC(Path.of("/usr/sbin/runc")),
    CRUN(Path.of("/usr/bin/crun"));

    final Path path;

    Binary(Path path) {
      this.path = path;
    }

    /**
     * crun refuses the hybrid cgroup layout of some machines: it gets a mount namespace without the
     * v2 tree.
     */
    List<String> command(String arguments) {
      String detach =
          this == CRUN
              ? "if test -d /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi; "
              : "";
      return List.of(
          "/usr/bin/unshare",
          "--mount",
          "--propagation",
          "private",
          "/bin/sh",
          "-c",
          detach + "exec " + path + " " + arguments);
    }
  }

  @BeforeEach
  void makeRootfs() throws IOException {
    Path rootfs = Files.createDirectory(folder.resolve("rootfs"));
    for (String name : List.of("bin", "etc", "tmp", "sys", "proc", "dev")) {
      Files.createDirectory(rootfs.resolve(name));
    }
    Files.writeString(
        rootfs.resolve("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1000:2000::/home/app:\n");
    Files.writeString(rootfs.resolve("etc/group"), "web:x:3000:app\n");
    if (available(BUSYBOX)) {
      Files.copy(BUSYBOX, rootfs.resolve("bin/busybox"));
    }

    pod.rootfs = rootfs;
    pod.stateDir = folder;
    pod.cgroupsPath = "/berth-test-" + ProcessHandle.current().pid();
    // Only pids are the container's own: making the others is the sandbox module's part.
    pod.podNamespaces =
        RequestFixture.modes(NamespaceMode.NODE, NamespaceMode.CONTAINER, NamespaceMode.NODE);
    pod.namespaces = pod.podNamespaces;
    HostFeatures here = HostFeatures.detect(false, 0);
    pod.cgroupV2 = here.cgroupV2();
    pod.swapAccounting = here.swapAccounting();
    pod.hugetlb = here.hugetlb();
    pod.lowestOomScoreAdj = here.lowestOomScoreAdj();
    pod.hostCapabilities = here.capabilities();
    pod.seccomp = new SecurityProfile(Kind.RUNTIME_DEFAULT, "");

    Path sandbox = Files.createDirectories(pod.request().sandboxPaths().hosts().getParent());
    for (String name : List.of("hosts", "hostname", "resolv.conf")) {
      Files.writeString(sandbox.resolve(name), "of the pod\n");
    }
  }

  @ParameterizedTest
  @EnumSource
  void ordinaryContainerIsWhatWasAsked(Binary binary) throws Exception {
    pod.envs = List.of("A=b c");
    pod.workingDir = "/made/by/runtime";
    pod.noNewPrivileges = true;
    pod.maskedPaths = List.of("/proc/kcore");
    pod.readonlyPaths = List.of("/proc/sys");
    pod.resources = RequestFixture.resources(64 << 20, 0, 500);
    pod.mounts.add(
        RequestFixture.mount(
            folder.resolve("volume").toString(), "/data", true, Propagation.PRIVATE));
    try (RootedTree tree = RootedTree.open(pod.rootfs)) {
      pod.user = ImageUser.resolve(tree, pod.security(), "app");
    }

    String seen =
        run(
            binary,
            """
            echo args $0; echo env $A; echo home $HOME; echo cwd $(pwd)
            echo id $(id -u) $(id -g) $(id -G)
            echo status $(grep -E '^(Seccomp|NoNewPrivs|CapBnd|CapEff|CapAmb):' /proc/self/status | tr '\\t' ' ')
            echo oom $(cat /proc/self/oom_score_adj)
            echo null >/dev/null && echo devices work
            echo hosts $(cat /etc/hosts)
            touch /data/x || echo data is read-only
            echo 1 >/proc/sys/kernel/pid_max || echo sysctl is read-only
            echo limit $(cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null)
            """);

    assertThat(seen)
        .contains("args berth")
        .contains("env b c")
        .contains("home /home/app")
        .contains("cwd /made/by/runtime")
        .contains("id 1000 2000 2000 3000")
        .contains("NoNewPrivs: 1 Seccomp: 2")
        .contains("CapBnd: 00000000a80425fb")
        .contains("CapEff: 0000000000000000")
        .contains("oom 500")
        .contains("devices work")
        .contains("hosts of the pod")
        .contains("data is read-only")
        .contains("sysctl is read-only")
        .contains("limit 67108864");
  }

  @ParameterizedTest
  @EnumSource
  void defaultProfileDeniesOnPurposeWithEperm(Binary binary) throws Exception {
    String attempts =
        "unshare -U true; chroot / /bin/busybox true && echo chroot works; mount -t tmpfs x /tmp";
    pod.add = List.of("ALL");
    pod.drop = List.of("SYS_ADMIN");
    assertThat(run(binary, attempts))
        .contains("unshare: unshare(0x10000000): Operation not permitted")
        .contains("chroot works")
        .containsPattern("mount: .*(permission denied|Operation not permitted)");

    pod.drop = List.of();
    assertThat(run(binary, attempts)).doesNotContain("not permitted").contains("chroot works");
  }

  @ParameterizedTest
  @EnumSource
  void profileThatNamesUnknownCallsLoads(Binary binary) throws Exception {
    Path profile =
        Files.writeString(
            folder.resolve("profile.json"),
            """
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
              {"names": ["no_such_call_in_any_kernel", "mkdir", "mkdirat"],
               "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}
            """);
    pod.seccomp = new SecurityProfile(Kind.LOCALHOST, profile.toString());
    assertThat(run(binary, "mkdir /tmp/x")).contains("No space left on device");
  }

  @ParameterizedTest
  @EnumSource
  void privilegedContainerHasTheMachine(Binary binary) throws Exception {
    pod.privileged = true;
    pod.privilegedPod = true;
    NamespaceModes node =
        RequestFixture.modes(NamespaceMode.NODE, NamespaceMode.NODE, NamespaceMode.NODE);
    pod.namespaces = node;
    pod.podNamespaces = node;
    assertThat(
            run(
                binary,
                """
                grep CapEff /proc/self/status
                grep Seccomp: /proc/self/status
                mount -t tmpfs x /tmp && echo mounted
                ls -d /proc/%d && echo pids of the machine
                test -w /sys/kernel && echo sysfs is writable
                """
                    .formatted(ProcessHandle.current().pid())))
        .containsPattern("Seccomp:\\s+0")
        .contains("mounted")
        .contains("pids of the machine")
        .contains("sysfs is writable");
  }

  /** The kernel's log, because the OCI runtimes open null, zero and their like to everyone. */
  @ParameterizedTest
  @EnumSource
  void deviceAndItsRuleTakeEffect(Binary binary) throws Exception {
    pod.devices.add(new Device("/dev/mine", "/dev/kmsg", "w"));
    assertThat(
            run(
                binary,
                ": >/dev/mine && echo writable; head -c 1 /dev/mine >/dev/null || echo no reading"))
        .contains("writable")
        .contains("no reading");
  }

  private String run(Binary binary, String script) throws Exception {
    require(binary.path);
    require(BUSYBOX);
    require(Path.of("/usr/bin/unshare"));
    pod.command = List.of("/bin/busybox", "sh", "-c", "export PATH=/bb; " + script, "berth");
    // Applets by name, in a folder of the root file system.
    Path applets = Files.createDirectories(pod.rootfs.resolve("bb"));
    for (String applet :
        List.of(
            "cat", "chroot", "grep", "head", "id", "ls", "mkdir", "mount", "touch", "tr", "true",
            "unshare", "wc")) {
      Path link = applets.resolve(applet);
      if (!Files.isSymbolicLink(link)) {
        Files.createSymbolicLink(link, Path.of("../bin/busybox"));
      }
    }
    Files.write(folder.resolve("config.json"), Json.write(builder.build(pod.request())));
    String arguments =
        "--root "
            + folder.resolve("state")
            + " run --bundle "
            + folder
            + " berth-test-"
            + ProcessHandle.current().pid();
    Subprocess.Result result =
        Subprocess.command(binary.command(arguments)).run(Duration.ofSeconds(60));
    return result.out() + result.err() + "exit " + result.exitCode();
  }

  private static void require(Path tool) {
    if (!available(tool)) {
      if ("true".equals(System.getenv("CI"))) {
        fail(tool + " is missing, which this test needs");
      }
      assumeTrue(false, tool + " is missing, which this test needs");
    }
  }

  private static boolean available(Path tool) {
    return Files.isExecutable(tool);
  }
}
