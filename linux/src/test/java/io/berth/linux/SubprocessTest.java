package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SubprocessTest {
  private static final Duration LONG = Duration.ofSeconds(20);
  private static final int SIGKILL = 9;

  @TempDir Path folder;

  private static Subprocess.Builder shell(String script) {
    return Subprocess.command("/bin/sh", "-c", script);
  }

  @Test
  void exitCodeIsTheProgramsOwn() throws Exception {
    Subprocess.Result result = shell("exit 7").run(LONG);
    assertThat(result.exitCode()).isEqualTo(7);
    assertThat(result.ok()).isFalse();
    assertThat(result.timedOut()).isFalse();
  }

  @Test
  void deathBySignalIs128AndTheSignal() throws Exception {
    assertThat(shell("kill -TERM $$").run(LONG).exitCode()).isEqualTo(128 + 15);
  }

  @Test
  void streamsAreKeptApart() throws Exception {
    Subprocess.Result result = shell("echo out; echo err >&2").run(LONG);
    assertThat(result.out()).isEqualTo("out\n");
    assertThat(result.err()).isEqualTo("err\n");
  }

  @Test
  void outputBeyondTheLimitIsDroppedAndBlocksNobody() throws Exception {
    Subprocess.Result result =
        shell("head -c 50000000 /dev/zero; head -c 300000 /dev/zero >&2")
            .outputLimit(100_000)
            .run(LONG);
    assertThat(result.ok()).isTrue();
    assertThat(result.stdout()).hasSize(100_000);
    assertThat(result.stderr()).hasSize(100_000);
  }

  @Test
  void aMebibyteGoesInAndOutUnchanged() throws Exception {
    byte[] input = new byte[1 << 20];
    new Random(1).nextBytes(input);
    assertThat(Subprocess.command("/bin/cat").input(input).run(LONG).stdout()).isEqualTo(input);
  }

  @Test
  void withoutInputTheEndIsReadAtOnce() throws Exception {
    assertThat(Subprocess.command("/bin/cat").run(LONG).ok()).isTrue();
  }

  @Test
  void environmentIsExactlyWhatWasGiven() throws Exception {
    assertThat(Subprocess.command("/usr/bin/env").environment(Map.of("A", "b c")).run(LONG).out())
        .isEqualTo("A=b c\n");
  }

  @Test
  void programRunsInItsFolder() throws Exception {
    assertThat(Subprocess.command("/bin/pwd").directory(folder).run(LONG).out())
        .isEqualTo(folder + "\n");
  }

  @Test
  void onlyTheStreamsAndPassedDescriptorsReachTheChild() throws Exception {
    Fd[] pipe = Fd.pipe();
    // Java opens some of its own files without close-on-exec, as this one.
    Fd careless =
        new Fd(Libc.check(Libc.open(Libc.path("/dev/null"), Libc.O_RDONLY, 0), "open /dev/null"));
    try {
      String script = "ls /proc/$$/fd; echo via five >&5";
      assertThat(shell(script).pass(pipe[1], 5).run(LONG).out()).isEqualTo("0\n1\n2\n5\n");
      assertThat(shell("ls /proc/$$/fd; :").run(LONG).out()).isEqualTo("0\n1\n2\n");
      byte[] buffer = new byte[100];
      int n = pipe[0].read(buffer);
      assertThat(new String(buffer, 0, n, StandardCharsets.UTF_8)).isEqualTo("via five\n");
    } finally {
      careless.close();
      pipe[0].close();
      pipe[1].close();
    }
  }

  @Test
  void descriptorsMayTakeEachOthersNumbers() throws Exception {
    Path a = Files.writeString(folder.resolve("a"), "A");
    Path b = Files.writeString(folder.resolve("b"), "B");
    try (Fd first = Fd.openRead(a);
        Fd second = Fd.openRead(b)) {
      String script = "cat /proc/self/fd/" + second.number() + " /proc/self/fd/" + first.number();
      assertThat(
              shell(script)
                  .pass(first, second.number())
                  .pass(second, first.number())
                  .run(LONG)
                  .out())
          .isEqualTo("AB");
    }
  }

  @Test
  void timeoutKillsTheWholeGroup() throws Exception {
    Path pidFile = folder.resolve("pid");
    Subprocess process = sleeperBehindShell(pidFile);
    ProcessRef sleeper = ProcessRef.of(awaitPid(pidFile)).orElseThrow();

    Subprocess.Result result = process.await(Duration.ofMillis(1));

    assertThat(result.timedOut()).isTrue();
    assertThat(result.exitCode()).isEqualTo(128 + SIGKILL);
    Await.until("the grandchild is dead", () -> !sleeper.isAlive());
  }

  @Test
  void interruptKillsTheWholeGroup() throws Exception {
    Path pidFile = folder.resolve("pid");
    Subprocess process = sleeperBehindShell(pidFile);
    ProcessRef sleeper = ProcessRef.of(awaitPid(pidFile)).orElseThrow();
    CompletableFuture<Boolean> interrupted = new CompletableFuture<>();
    Thread waiter =
        Thread.startVirtualThread(() -> {
          try {
            process.await();
            interrupted.complete(false);
          } catch (InterruptedException e) {
            interrupted.complete(!ProcessRef.of(process.pid()).isPresent());
          }
        });

    waiter.interrupt();

    assertThat(interrupted.get()).as("interrupted, and the child dead by then").isTrue();
    Await.until("the grandchild is dead", () -> !sleeper.isAlive());
  }

  @Test
  void pollLeavesTheProcessAlone() throws Exception {
    Subprocess process = Subprocess.command("/bin/sleep", "100").start();
    try {
      assertThat(process.poll(Duration.ofMillis(1))).isEmpty();
      assertThat(ProcessRef.of(process.pid())).isPresent();
    } finally {
      process.kill(SIGKILL);
    }
    assertThat(process.await().exitCode()).isEqualTo(128 + SIGKILL);
    process.kill(SIGKILL); // ended: nothing happens
  }

  private static Subprocess sleeperBehindShell(Path pidFile) {
    return shell(
            "sleep 100 & echo $! >"
                + pidFile
                + ".new; mv "
                + pidFile
                + ".new "
                + pidFile
                + "; wait")
        .start();
  }

  private static int awaitPid(Path pidFile) throws Exception {
    Await.until("the pid is written", () -> Files.exists(pidFile));
    return Integer.parseInt(Files.readString(pidFile).strip());
  }

  /** A daemon that a program leaves behind, with the program's output still open. */
  @Test
  void grandchildHoldingTheOutputIsNotWaitedFor() throws Exception {
    Subprocess.Result result = shell("setsid sleep 100 & echo $!").run(LONG);
    ProcessRef left = ProcessRef.of(Integer.parseInt(result.out().strip())).orElseThrow();
    try {
      assertThat(result.ok()).isTrue();
      assertThat(left.isAlive()).isTrue();
    } finally {
      assertThat(left.signal(SIGKILL)).isTrue();
    }
  }

  @Test
  void grandchildThatWritesForEverIsNotWaitedFor() throws Exception {
    Subprocess.Result result =
        shell("setsid yes & echo $! >" + folder.resolve("pid")).outputLimit(1000).run(LONG);
    int left = Integer.parseInt(Files.readString(folder.resolve("pid")).strip());
    assertThat(result.timedOut()).isFalse();
    Await.until("it has died of the closed pipe", () -> ProcessRef.of(left).isEmpty());
  }

  @Test
  void endlessWritersDontHoldUpTheEventLoop() throws Exception {
    Subprocess writers = shell("yes & yes & yes & yes & wait").outputLimit(0).start();
    try {
      for (int i = 0; i < 20; i++) {
        assertThat(Subprocess.command("/bin/true").run(LONG).ok()).isTrue();
      }
    } finally {
      writers.kill(SIGKILL);
    }
    var _ = writers.await();
  }

  @Test
  void programThatCantBeExecutedIsNamedWithTheReason() throws IOException {
    assertThatThrownBy(() -> Subprocess.command("/no/such/program").start())
        .isInstanceOf(ErrnoException.class)
        .hasMessage("execute /no/such/program: no such file or directory (ENOENT)");
    Path file = Files.writeString(folder.resolve("file"), "#!/bin/sh\n");
    assertThatThrownBy(() -> Subprocess.command(file.toString()).start())
        .hasMessage("execute " + file + ": permission denied (EACCES)");
    assertThatThrownBy(
            () -> Subprocess.command("/bin/true").directory(Path.of("/no/such/folder")).start())
        .hasMessage("execute /bin/true in /no/such/folder: no such file or directory (ENOENT)");
  }

  @Test
  void manyProcessesLeaveNeitherDescriptorsNorThreadsNorZombies() throws Exception {
    for (int i = 0; i < 20; i++) {
      run(true);
      run(false);
    }
    long descriptors = count("/proc/self/fd");
    long threads = count("/proc/self/task");

    for (int i = 0; i < 250; i++) {
      run(true);
      run(false);
    }

    Await.until("no more descriptors than before", () -> count("/proc/self/fd") <= descriptors);
    // The JVM itself may have started a compiler thread meanwhile.
    Await.until("no more threads than before", () -> count("/proc/self/task") <= threads + 5);
    assertThat(zombies()).isEmpty();
  }

  private static void run(boolean exists) throws InterruptedException {
    try {
      assertThat(
              Subprocess.command(exists ? "/bin/true" : "/no/such").input(new byte[9]).run().ok())
          .isTrue();
    } catch (ErrnoException e) {
      assertThat(exists).isFalse();
    }
  }

  private static long count(String folder) throws IOException {
    try (var entries = Files.list(Path.of(folder))) {
      return entries.count();
    }
  }

  private static List<ProcessHandle> zombies() {
    return ProcessHandle.current()
        .children()
        .filter(child -> ProcessRef.of((int) child.pid()).isEmpty() && child.isAlive())
        .toList();
  }
}
