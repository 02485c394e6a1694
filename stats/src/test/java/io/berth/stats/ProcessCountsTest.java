package io.berth.stats;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.KernelFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ProcessCountsTest {
  /** Perl's sockets and files are its own: the shell can't open any. */
  private static final String HOLDER =
      "use Socket; my @held; for (1..5) { socket(my $s, AF_UNIX, SOCK_STREAM, 0); push @held, $s }"
          + " for (1..3) { open(my $f, '<', '/dev/null'); push @held, $f }"
          + " $| = 1; print \"held\\n\"; <STDIN>;";

  @TempDir Path cgroup;
  private final List<Process> started = new ArrayList<>();

  /** A process with three standard streams, five sockets and three files, and a limit of 77. */
  private long hold() throws Exception {
    Process process =
        new ProcessBuilder("sh", "-c", "ulimit -Sn 77; exec perl -e \"$0\"", HOLDER).start();
    started.add(process);
    assertThat(process.inputReader().readLine()).isEqualTo("held");
    return process.pid();
  }

  @AfterEach
  void end() throws Exception {
    for (Process process : started) {
      process.destroyForcibly().waitFor();
    }
  }

  private ProcessCounts counts() {
    return ProcessCounts.of(KernelFile.name(cgroup.toString()), 1000).orElseThrow();
  }

  @Test
  void descriptorsAndSocketsAreThoseOfAllProcessesBeneathTheCgroup() throws Exception {
    Files.createDirectory(cgroup.resolve("inner"));
    Files.writeString(cgroup.resolve("cgroup.procs"), hold() + "\n");
    Files.writeString(cgroup.resolve("inner/cgroup.procs"), hold() + "\n");
    ProcessCounts counts = counts();
    assertThat(counts.processes()).isEqualTo(2);
    assertThat(counts.openFiles().sockets()).isEqualTo(10);
    assertThat(counts.openFiles().descriptors()).isEqualTo(2 * 11);
    assertThat(counts.softLimitOpenFiles()).isEqualTo(77);
  }

  @Test
  void tooManyAreNotCounted() throws Exception {
    Files.writeString(cgroup.resolve("cgroup.procs"), hold() + "\n");
    assertThat(ProcessCounts.of(KernelFile.name(cgroup.toString()), 5)).isEmpty();
    assertThat(ProcessCounts.of(KernelFile.name(cgroup.toString()), 50)).isPresent();
  }

  @Test
  void processesThatHaveEndedHaveNothingOpen() throws Exception {
    long pid = hold();
    Files.writeString(cgroup.resolve("cgroup.procs"), pid + "\n");
    started.getFirst().destroyForcibly().waitFor();
    assertThat(counts().openFiles().descriptors()).isZero();
    assertThat(counts().softLimitOpenFiles()).isEqualTo(KernelFile.ABSENT);
  }

  @Test
  void aCgroupThatHasGoneHasNoProcesses() {
    assertThat(
            ProcessCounts.of(KernelFile.name(cgroup.resolve("gone").toString()), 10)
                .orElseThrow()
                .processes())
        .isZero();
  }
}
