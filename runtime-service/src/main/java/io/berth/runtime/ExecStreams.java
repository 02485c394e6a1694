package io.berth.runtime;

import io.berth.linux.Fd;
import io.berth.linux.FdReader;
import io.berth.linux.FdWriter;
import io.berth.linux.Subprocess;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The daemon's ends of a command's pipes, or of its terminal. Each end belongs to the one thread
 * that uses it and is closed by it, once it is taken; {@link #close} closes those that never were.
 */
final class ExecStreams implements AutoCloseable {
  private final List<Fd> childs = new ArrayList<>(); // standard input, output and error
  private @Nullable FdWriter stdin;
  private @Nullable FdReader stdout;
  private @Nullable FdReader stderr;

  private ExecStreams() {}

  /**
   * Pipes; without {@code wantsInput} the command's input is empty. Both outputs are always there:
   * what a runtime has to say when it fails comes through standard error.
   */
  @SuppressWarnings("MustBeClosedChecker") // closed with the others
  static ExecStreams pipes(boolean wantsInput) {
    ExecStreams streams = new ExecStreams();
    boolean made = false;
    try {
      if (wantsInput) {
        Fd[] in = Fd.pipe();
        streams.childs.add(in[0]);
        streams.stdin = new FdWriter(in[1]);
      } else {
        // Not /dev/null: crun before 1.24 makes the command's user the owner of its stdin.
        Fd[] ended = Fd.pipe();
        streams.childs.add(ended[0]);
        ended[1].close();
      }
      Fd[] out = Fd.pipe();
      streams.childs.add(out[1]);
      streams.stdout = new FdReader(out[0]);
      Fd[] err = Fd.pipe();
      streams.childs.add(err[1]);
      streams.stderr = new FdReader(err[0]);
      made = true;
      return streams;
    } finally {
      if (!made) {
        streams.close();
      }
    }
  }

  /** For a command with a terminal, which comes later. */
  static ExecStreams none() {
    return new ExecStreams();
  }

  /** The same with the terminal's master, which stays the caller's. */
  void terminal(Fd master, boolean wantsInput) {
    stdout = new FdReader(master.duplicate());
    if (wantsInput) {
      stdin = new FdWriter(master.duplicate());
    }
  }

  /** Hands the command's ends to a process; without pipes its output is collected instead. */
  Subprocess.Builder given(Subprocess.Builder process) {
    return childs.isEmpty()
        ? process
        : process.streams(childs.get(0), childs.get(1), childs.get(2));
  }

  /** The process has its copies: lets go of ours, so that its end shows. */
  void handOver() {
    childs.forEach(Fd::close);
    childs.clear();
  }

  /** Null when the command reads nothing, or it is taken already. */
  @Nullable FdWriter takeStdin() {
    FdWriter taken = stdin;
    stdin = null;
    return taken;
  }

  @Nullable FdReader takeStdout() {
    FdReader taken = stdout;
    stdout = null;
    return taken;
  }

  /** Null with a terminal, too. */
  @Nullable FdReader takeStderr() {
    FdReader taken = stderr;
    stderr = null;
    return taken;
  }

  @Override
  public void close() {
    handOver();
    FdWriter in = takeStdin();
    if (in != null) {
      in.close();
    }
    FdReader out = takeStdout();
    if (out != null) {
      out.close();
    }
    FdReader err = takeStderr();
    if (err != null) {
      err.close();
    }
  }
}
