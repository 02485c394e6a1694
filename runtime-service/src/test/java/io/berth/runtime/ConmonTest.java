package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.berth.linux.CgroupDriver;
import io.berth.linux.Cgroups;
import io.berth.linux.ProcessRef;
import io.berth.oci.Json;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.NamespaceMode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The real conmon, with runtimes that fail in their ways and one that is real. */
@Tag("root")
class ConmonTest {
  private static final Path CONMON = Path.of("/usr/bin/conmon");
  private static final Path RUNC = Path.of("/usr/sbin/runc");
  private static final Path BUSYBOX = Path.of("/bin/busybox");
  private static final Conmon.Streams NO_LOG = new Conmon.Streams("", false, false, false);
  private static final int SIGKILL = 9;

  private final ContainerId id = ContainerId.random();
  @TempDir Path folder;

  @SuppressWarnings("NullAway.Init") // by setUp
  private ContainerLayout layout;

  @SuppressWarnings("NullAway.Init") // by setUp
  private Conmon conmon;

  @BeforeEach
  void setUp() throws IOException {
    needs(CONMON);
    layout = new ContainerLayout(folder.resolve("run"), folder.resolve("lib"));
    Files.createDirectories(layout.bundle(id));
    Files.createDirectories(layout.exits());
    Files.writeString(layout.spec(id), "{}");
    conmon = new Conmon(() -> Optional.of(CONMON), layout);
  }

  private static void needs(Path program) {
    if (!Files.isExecutable(program)) {
      if ("true".equals(System.getenv("CI"))) {
        fail(program + " is missing, which this test needs");
      }
      assumeTrue(false, program + " is missing, which this test needs");
    }
  }

  private OciRuntime runtime(Path program) {
    return new OciRuntime(
        "test", () -> Optional.of(program), folder.resolve("state"), CgroupDriver.CGROUPFS);
  }

  private OciRuntime script(String text) throws IOException {
    Path program =
        Files.createFile(
            folder.resolve("runtime"),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwxr-xr-x")));
    Files.writeString(program, "#!/bin/sh\n" + text);
    return runtime(program);
  }

  private void assertFails(Conmon tried, OciRuntime runtime, Reason reason, String... words) {
    assertThatThrownBy(() -> tried.create(id, "web", runtime, NO_LOG))
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(reason))
        .message()
        .contains(words);
  }

  private static long descriptors() throws IOException {
    try (var entries = Files.list(Path.of("/proc/self/fd"))) {
      return entries.count();
    }
  }

  @Test
  void missingConmonIsUnsupportedAndNamesTheSetting() throws Exception {
    assertFails(
        new Conmon(Optional::empty, layout),
        script(""),
        Reason.UNSUPPORTED,
        "conmon is missing",
        "correct containers.conmon");
  }

  @Test
  void conmonThatCantBeExecutedIsNamed() throws Exception {
    Path none = folder.resolve("no-conmon");
    assertFails(
        new Conmon(() -> Optional.of(none), layout),
        script(""),
        Reason.RUNTIME_FAILED,
        "create container " + id + " (web): conmon can't be started: execute " + none,
        "ENOENT",
        "correct containers.conmon");
  }

  @Test
  void conmonThatEndsWithoutAWordIsAFailure() throws Exception {
    assertFails(
        new Conmon(() -> Optional.of(Path.of("/bin/true")), layout),
        script(""),
        Reason.RUNTIME_FAILED,
        "says: nothing, and conmon ended");
    assertFails(
        new Conmon(() -> Optional.of(Path.of("/bin/false")), layout),
        runtime(folder.resolve("runtime")),
        Reason.RUNTIME_FAILED,
        "says: nothing, and conmon ended");
  }

  @Test
  void runtimesWordsComeThrough() throws Exception {
    OciRuntime runtime = script("echo 'level=error msg=\"cannot make \\\"it\\\"\"' >&2; exit 1");
    long before = descriptors();
    assertFails(
        conmon,
        runtime,
        Reason.RUNTIME_FAILED,
        "create container "
            + id
            + " (web): runtime test ("
            + folder.resolve("runtime")
            + ") says: ",
        "cannot make \"it\"");
    assertThat(descriptors()).isLessThanOrEqualTo(before);
  }

  @Test
  void runtimeThatIsMissingIsSaid() {
    Path none = folder.resolve("no-runtime");
    assertFails(conmon, runtime(none), Reason.RUNTIME_FAILED, none.toString());
  }

  @Test
  void runtimeThatEndsWellButMakesNothingIsAFailure() throws Exception {
    assertFails(conmon, script("exit 0"), Reason.RUNTIME_FAILED, "create container " + id);
  }

  @Test
  void interruptedCallerIsLetGoWhileTheRuntimeHangs() throws Exception {
    Path started = folder.resolve("started");
    OciRuntime runtime =
        script("echo $$ >%1$s.new; mv %1$s.new %1$s; exec sleep 100".formatted(started));
    CompletableFuture<String> outcome = new CompletableFuture<>();
    long before = descriptors();
    Thread caller =
        Thread.startVirtualThread(() -> {
          try {
            outcome.complete(conmon.create(id, "web", runtime, NO_LOG).toString());
          } catch (InterruptedException e) {
            outcome.complete("interrupted");
          } catch (Throwable e) {
            outcome.completeExceptionally(e);
          }
        });
    Await.until("the runtime runs", () -> Files.exists(started));
    ProcessRef hanging =
        ProcessRef.of(Integer.parseInt(Files.readString(started).strip())).orElseThrow();
    ProcessRef monitor =
        Conmon.readPid(layout.monitorPidFile(id)).flatMap(ProcessRef::of).orElseThrow();
    try {
      caller.interrupt();
      assertThat(outcome.get()).isEqualTo("interrupted");
      Await.until("no descriptor is left open", () -> descriptors() <= before);
    } finally {
      // What is left is the undo's to kill: conmon has let go of the process that we started.
      hanging.signal(SIGKILL);
      monitor.signal(SIGKILL);
    }
    Await.until("all is gone", () -> !hanging.isAlive() && !monitor.isAlive());
  }

  private String cgroup() {
    return "/berth-test-conmon-" + ProcessHandle.current().pid();
  }

  private OciRuntime runc(List<String> command) throws Exception {
    needs(RUNC);
    needs(BUSYBOX);
    RequestFixture pod = new RequestFixture();
    pod.rootfs = Files.createDirectories(layout.rootfs(id));
    for (String name : List.of("bin", "etc", "tmp", "sys", "proc", "dev")) {
      Files.createDirectory(pod.rootfs.resolve(name));
    }
    Files.copy(BUSYBOX, pod.rootfs.resolve("bin/busybox"));
    pod.stateDir = folder;
    pod.cgroupsPath = cgroup();
    pod.podNamespaces =
        RequestFixture.modes(NamespaceMode.NODE, NamespaceMode.CONTAINER, NamespaceMode.NODE);
    pod.namespaces = pod.podNamespaces;
    pod.command = command;
    pod.cgroupV2 = Files.exists(Path.of("/sys/fs/cgroup/cgroup.controllers"));
    pod.swapAccounting = false;
    pod.hugetlb = false;
    pod.lowestOomScoreAdj = 0;
    pod.hostCapabilities = Capabilities.ofThisProcess();
    Path sandbox = Files.createDirectories(pod.request().sandboxPaths().hosts().getParent());
    for (String name : List.of("hosts", "hostname", "resolv.conf")) {
      Files.writeString(sandbox.resolve(name), "of the pod\n");
    }
    Files.write(
        layout.spec(id), Json.write(RequestFixture.specs(SpecSettings.PLAIN).build(pod.request())));
    return runtime(RUNC);
  }

  @Test
  void realContainerIsMadeStartedLoggedAndItsEndRecorded() throws Exception {
    OciRuntime runtime =
        runc(List.of("/bin/busybox", "sh", "-c", "echo hello; echo problem >&2; exit 7"));
    Path log = folder.resolve("container.log");
    try {
      Conmon.Created created =
          conmon.create(
              id, "web", runtime, new Conmon.Streams(log.toString(), false, false, false));
      assertThat(created.init().isAlive()).isTrue();
      assertThat(created.monitor().isAlive()).isTrue();
      assertThat(runtime.status(id)).isEqualTo("created");
      assertThat(layout.exitFile(id)).doesNotExist();

      runtime.start(id);

      Await.until("its end is recorded", () -> Files.exists(layout.exitFile(id)));
      assertThat(layout.exitFile(id)).content().isEqualTo("7");
      Await.until("conmon has ended", () -> !created.monitor().isAlive());
      assertThat(created.init().isAlive()).isFalse();
      assertThat(Files.readAllLines(log))
          .anyMatch(line -> line.matches("\\S+ stdout F hello"))
          .anyMatch(line -> line.matches("\\S+ stderr F problem"));
    } finally {
      cleanUp(runtime);
    }
  }

  @Test
  void programThatDoesntExistIsNamedByTheRuntime() throws Exception {
    OciRuntime runtime = runc(List.of("/no/such/program"));
    try {
      assertFails(conmon, runtime, Reason.RUNTIME_FAILED, "/no/such/program", "no such file");
    } finally {
      cleanUp(runtime);
    }
  }

  private void cleanUp(OciRuntime runtime) throws Exception {
    runtime.delete(id);
    Cgroups cgroups = Cgroups.detect(Path.of("/sys/fs/cgroup"));
    Await.until("the cgroup is empty", () -> cgroups.processes(cgroup()).isEmpty());
    cgroups.remove(cgroup());
  }
}
