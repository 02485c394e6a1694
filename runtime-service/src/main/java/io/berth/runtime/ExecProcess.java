package io.berth.runtime;

import io.berth.linux.AdoptedProcess;
import io.berth.linux.Cgroups;
import io.berth.linux.Fd;
import io.berth.linux.Terminals;
import java.time.Duration;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A command that runs in a container, as {@link ExecLauncher} has begun it. */
final class ExecProcess implements AutoCloseable {
  private static final Duration AFTER_KILL = Duration.ofSeconds(2);

  private final AdoptedProcess process;
  private final ExecStreams streams;
  private final @Nullable Fd terminal; // guarded by this
  private final Cgroups cgroups;
  private final String cgroup;
  private boolean closed; // guarded by this

  ExecProcess(
      AdoptedProcess process,
      ExecStreams streams,
      @Nullable Fd terminal,
      Cgroups cgroups,
      String cgroup) {
    this.process = process;
    this.streams = streams;
    this.terminal = terminal;
    this.cgroups = cgroups;
    this.cgroup = cgroup;
  }

  ExecStreams streams() {
    return streams;
  }

  /**
   * Waits at most {@code limit} for the end of the command itself, not of what it has left in the
   * background.
   *
   * @return the exit code; empty while it runs
   */
  Optional<Integer> poll(Duration limit) throws InterruptedException {
    return process.poll(limit);
  }

  /** Does nothing without a terminal, and after the end. */
  synchronized void resize(int rows, int columns) {
    if (terminal != null && !closed) {
      Terminals.resize(terminal, rows, columns);
    }
  }

  /** Kills the command and all it started, and waits a moment until that can be seen. */
  void kill() throws InterruptedException {
    ProcessTree.kill(cgroups, cgroup, process.pid());
    if (process.poll(AFTER_KILL).isEmpty()) { // it may have been in the middle of a fork
      ProcessTree.kill(cgroups, cgroup, process.pid());
    }
  }

  /** Lets go of the streams that nobody has taken, and of the terminal; the command may go on. */
  @Override
  public synchronized void close() {
    closed = true;
    streams.close();
    if (terminal != null) {
      terminal.close();
    }
  }
}
