package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.linux.CgroupDriver;
import io.berth.linux.Cgroups;
import io.berth.linux.ProcessRef;
import io.berth.oci.Json;
import io.berth.runtime.ContainerException.Reason;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The runtime is a script that behaves as runc's detached exec does: it leaves the command behind,
 * writes its number and ends. The cgroup tree is a folder.
 */
class ExecSyncTest {
  private static final ContainerId ID = Containers.id("aa");
  private static final List<String> COMMAND = List.of("/bin/prog", "arg");
  private static final int LIMIT = 1000;

  /** Finds the arguments as runc does; $spec and $pidfile are then set. */
  private static final String ARGUMENTS =
      """
      #!/bin/sh
      while [ $# -gt 0 ]; do
        case $1 in
          --process) spec=$2; shift ;;
          --pid-file) pidfile=$2; shift ;;
        esac
        shift
      done
      """;

  @TempDir Path folder;
  private Path state = Path.of("/");
  private Path cgroup = Path.of("/");
  private Path program = Path.of("/");

  @SuppressWarnings("NullAway.Init") // by setUp
  private ContainerStore store;

  @BeforeEach
  void setUp() throws Exception {
    state = folder.resolve("state");
    Files.createDirectories(state.resolve("containers/" + ID));
    Files.write(
        state.resolve("containers/" + ID + "/config.json"),
        Json.write(RequestFixture.specs(SpecSettings.PLAIN).build(request())));
    cgroup = Files.createDirectories(folder.resolve("cgroup/pod/" + ID));
    Files.writeString(folder.resolve("cgroup/cgroup.controllers"), "");
    program =
        Files.createFile(
            folder.resolve("runtime"),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwxr-xr-x")));
    store = new ContainerStore(folder.resolve("records"));
    store.create(Containers.of(ID, "web", ContainerState.CREATING));
    store.update(ID, c -> c.created(new ProcessRef(1, 1), null));
    store.update(ID, c -> c.withState(ContainerState.STARTING));
  }

  private static SpecBuilder.Request request() {
    return new RequestFixture().request();
  }

  /** A runtime that begins this command; $spec is the text of what it was given. */
  private ExecSync command(String script) throws IOException {
    return exec(
        "spec=$(cat $spec)\nprogram() {\n"
            + script
            + "\n}\nprogram </dev/null &\necho $! >$pidfile\n");
  }

  private ExecSync exec(String script) throws IOException {
    Files.writeString(program, ARGUMENTS + script);
    store.update(ID, c -> c.state() == ContainerState.STARTING ? c.started(1) : null);
    return idle();
  }

  private ExecSync idle() {
    OciRuntime runtime =
        new OciRuntime(
            "fake", () -> Optional.of(program), folder.resolve("root"), CgroupDriver.CGROUPFS);
    return new ExecSync(
        new RuntimeSettings(
            new ContainerLayout(state, folder),
            Duration.ZERO,
            Path.of("/proc/sys/kernel/random/boot_id"),
            Optional::empty,
            LIMIT,
            0,
            true,
            LogLimits.NONE),
        store,
        new ExecLauncher(
            new ContainerLayout(state, folder),
            new RuntimeHandlers("fake", List.of(runtime)),
            Cgroups.detect(folder.resolve("cgroup"))));
  }

  private static String text(byte[] bytes) {
    return new String(bytes, StandardCharsets.UTF_8);
  }

  private void assertNoFilesAreLeft() throws IOException {
    try (var files = Files.list(state.resolve("containers/" + ID))) {
      assertThat(files.map(f -> f.getFileName().toString())).containsExactly("config.json");
    }
  }

  @Test
  void exitCodeAndBothStreamsAreTheCommands() throws Exception {
    ExecSync.Output output =
        command("echo \"$spec\" | grep -o '/bin/prog'; echo problem >&2; exit 7")
            .run(ID.value(), COMMAND, Duration.ofSeconds(20));
    assertThat(output.exitCode()).isEqualTo(7);
    assertThat(text(output.stdout())).isEqualTo("/bin/prog\n");
    assertThat(text(output.stderr())).isEqualTo("problem\n");
    assertNoFilesAreLeft();
  }

  @Test
  void commandIsTheContainersOwnProcessWithOtherArguments() throws Exception {
    Path copy = folder.resolve("copy");
    var _ =
        exec("cp $spec " + copy + "; sleep 0 & echo $! >$pidfile")
            .run(ID.value(), COMMAND, Duration.ZERO);
    var sent = Json.MAPPER.readTree(copy.toFile());
    var own =
        Json.MAPPER
            .readTree(state.resolve("containers/" + ID + "/config.json").toFile())
            .path("process");
    assertThat(sent.path("args").toString()).isEqualTo("[\"/bin/prog\",\"arg\"]");
    assertThat(sent.path("terminal").asBoolean()).isFalse();
    for (String field :
        List.of(
            "user",
            "env",
            "cwd",
            "capabilities",
            "rlimits",
            "noNewPrivileges",
            "oomScoreAdj",
            "apparmorProfile",
            "selinuxLabel")) {
      assertThat(sent.path(field)).as(field).isEqualTo(own.path(field));
    }
  }

  @Test
  void bothStreamsTogetherStayWithinTheLimit() throws Exception {
    ExecSync.Output output =
        command("head -c 700 /dev/zero; head -c 700 /dev/zero >&2")
            .run(ID.value(), COMMAND, Duration.ZERO);
    assertThat(output.stdout()).hasSize(700);
    assertThat(output.stderr()).hasSize(300);

    output =
        command("head -c 5000000 /dev/zero; head -c 700 /dev/zero >&2")
            .run(ID.value(), COMMAND, Duration.ZERO);
    assertThat(output.exitCode()).isZero();
    assertThat(output.stdout()).hasSize(LIMIT);
    assertThat(output.stderr()).isEmpty();
  }

  @Test
  void childInTheBackgroundThatHoldsThePipesHoldsUpNothing() throws Exception {
    Path child = folder.resolve("child");
    ExecSync.Output output =
        command("sleep 1000 & echo $! >" + child + "; seq 1 200; exit 3")
            .run(ID.value(), COMMAND, Duration.ZERO);
    ProcessRef left =
        ProcessRef.of(Integer.parseInt(Files.readString(child).strip())).orElseThrow();
    try {
      assertThat(output.exitCode()).isEqualTo(3);
      assertThat(text(output.stdout()).lines()).hasSize(200).endsWith("200");
      assertThat(left.isAlive()).as("what was left in the background").isTrue();
    } finally {
      left.signal(9);
    }
  }

  @Test
  void failureBeforeTheCommandBeganIsTheRuntimes() throws Exception {
    ExecSync exec = exec("echo 'level=error msg=\"no such program\"' >&2; exit 255");
    assertThatThrownBy(() -> exec.run(ID.value(), COMMAND, Duration.ZERO))
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.RUNTIME_FAILED))
        .hasMessageContaining("execute /bin/prog in container " + ID)
        .hasMessageEndingWith("says: no such program");
    assertNoFilesAreLeft();
  }

  /** The command is a session of its own. */
  private String hanging(Path started) {
    return """
    setsid sh -c 'echo $$ >%2$s/cgroup.procs; sleep 100 & echo $! >>%2$s/cgroup.procs; \
    echo $$ >'$pidfile'; touch %1$s; wait' </dev/null &
    while [ ! -e %1$s ]; do sleep 0.01; done
    """
        .formatted(started, cgroup);
  }

  private List<ProcessRef> processes() throws IOException {
    return Files.readAllLines(cgroup.resolve("cgroup.procs")).stream()
        .map(pid -> ProcessRef.of(Integer.parseInt(pid)).orElseThrow())
        .toList();
  }

  @Test
  void timeoutKillsTheCommandAndAllItStarted() throws Exception {
    Path started = folder.resolve("started");
    ExecSync exec = exec(hanging(started));
    CompletableFuture<List<ProcessRef>> running = new CompletableFuture<>();
    Thread.startVirtualThread(() -> {
      try {
        Await.until("the command runs", () -> Files.exists(started));
        running.complete(processes());
      } catch (Throwable e) {
        running.completeExceptionally(e);
      }
    });
    assertThatThrownBy(() -> exec.run(ID.value(), COMMAND, Duration.ofSeconds(1)))
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.TIMED_OUT))
        .hasMessageContaining("command timed out after 1 s and was killed with all it had started");
    for (ProcessRef process : running.get()) {
      Await.until(process + " is dead", () -> !process.isAlive());
    }
    assertNoFilesAreLeft();
  }

  @Test
  void callerWhoGivesUpTakesTheCommandWithHim() throws Exception {
    Path started = folder.resolve("started");
    ExecSync exec = exec(hanging(started));
    CompletableFuture<Boolean> interrupted = new CompletableFuture<>();
    Thread caller =
        Thread.startVirtualThread(() -> {
          try {
            exec.run(ID.value(), COMMAND, Duration.ZERO);
            interrupted.complete(false);
          } catch (InterruptedException e) {
            interrupted.complete(true);
          } catch (Throwable e) {
            interrupted.completeExceptionally(e);
          }
        });
    Await.until("the command runs", () -> Files.exists(started));
    List<ProcessRef> processes = processes();
    caller.interrupt();
    assertThat(interrupted.get()).isTrue();
    for (ProcessRef process : processes) {
      Await.until(process + " is dead", () -> !process.isAlive());
    }
    assertNoFilesAreLeft();
  }

  @Test
  void onlyARunningContainerIsEntered() {
    assertThatThrownBy(() -> idle().run(ID.value(), COMMAND, Duration.ZERO))
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.WRONG_STATE))
        .hasMessageContaining("it is STARTING");
    assertThatThrownBy(() -> idle().run(ID.value(), List.of(), Duration.ZERO))
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.INVALID));
    assertThatThrownBy(() -> idle().run("ff", COMMAND, Duration.ZERO))
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.NOT_FOUND));
  }
}
