package io.berth.runtime;

import io.berth.linux.FdReader;
import io.berth.linux.FdWriter;
import io.berth.oci.RuntimeSpec.ConsoleSize;
import io.berth.streaming.CommandResult;
import io.berth.streaming.CommandStreams;
import io.berth.streaming.CommandTarget;
import io.berth.streaming.TerminalSize;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** A command in a container with a client at its streams, as behind {@code kubectl exec}. */
final class ExecSession implements CommandTarget {
  private static final Duration FOR_EVER = Duration.ofDays(10_000);
  private static final byte[] END_OF_INPUT = {4}; // VEOF, termios(3): what Ctrl-D sends

  private static final Duration LOOK = Duration.ofSeconds(1);

  /** For a terminal to say the last words after its command has ended. */
  private static final Duration LAST_WORDS = Duration.ofSeconds(2);

  /** For a command that has lost its client to notice that and end by itself. */
  private static final Duration AFTER_HANG_UP = Duration.ofSeconds(2);

  private final ContainerStore store;
  private final ExecLauncher launcher;
  private final boolean killAbandoned;
  private final ContainerId id;
  private final List<String> command;

  /**
   * Describes the session; nothing happens before {@link #run}.
   *
   * @param killAbandoned whether a command ends with its client
   */
  ExecSession(
      ContainerStore store,
      ExecLauncher launcher,
      boolean killAbandoned,
      ContainerId id,
      List<String> command) {
    this.store = store;
    this.launcher = launcher;
    this.killAbandoned = killAbandoned;
    this.id = id;
    this.command = List.copyOf(command);
  }

  @Override
  public CommandResult run(CommandStreams streams) throws InterruptedException {
    Resizes resizes = new Resizes();
    if (streams.tty()) {
      streams.onResize(resizes);
    }
    // Its first words may be there before the runtime that has begun it has ended.
    var early = new AtomicReference<@Nullable OutputPump>();
    try (ExecProcess process =
        launcher
            .start(
                store.get(id.value()),
                command,
                new ExecLauncher.Wanted(
                    streams.tty(), streams.stdin().isPresent(), resizes.latest()),
                FOR_EVER,
                pipes -> early.set(output(pipes.takeStdout(), streams.stdout())))
            .orElseThrow()) {
      resizes.applyTo(process);
      OutputPump out = early.getAndSet(null);
      return follow(
          process,
          streams,
          out == null ? output(process.streams().takeStdout(), streams.stdout()) : out);
    } catch (ContainerException e) {
      return new CommandResult.Failed(String.valueOf(e.getMessage()));
    } finally {
      stop(early.get()); // it has not begun
    }
  }

  private CommandResult follow(
      ExecProcess process, CommandStreams streams, @Nullable OutputPump out)
      throws InterruptedException {
    Thread input = input(process.streams().takeStdin(), streams);
    OutputPump err = output(process.streams().takeStderr(), streams.stderr());
    boolean ended = false;
    try {
      int code = await(process);
      // What it has left in the background may hold the pipes for ever. A terminal hangs up by
      // itself, as its session has lost its leader.
      if (!streams.tty() || (out != null && !out.join(LAST_WORDS))) {
        endWithWhatIsThere(out);
        endWithWhatIsThere(err);
      }
      join(out);
      join(err);
      ended = true;
      return new CommandResult.Exited(code);
    } finally {
      if (input != null) {
        input.interrupt();
      }
      if (!ended && killAbandoned) { // else the pumps go on, and drop what they read
        stop(out);
        stop(err);
        hangUp(process);
      }
    }
  }

  /** A command may outlive its container where they share the PID namespace with others. */
  private int await(ExecProcess process) throws InterruptedException {
    Optional<Integer> code = process.poll(LOOK);
    while (code.isEmpty()) {
      if (store.byId(id).filter(c -> c.state().live()).isEmpty()) {
        process.kill();
      }
      code = process.poll(LOOK);
    }
    return code.get();
  }

  /** The client is gone: its ends close, and what doesn't mind that is killed. */
  private void hangUp(ExecProcess process) throws InterruptedException {
    boolean interrupted = Thread.interrupted();
    try {
      process.close();
      if (process.poll(AFTER_HANG_UP).isEmpty()) {
        process.kill();
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  private static @Nullable OutputPump output(@Nullable FdReader from, Optional<OutputStream> to) {
    return from == null
        ? null
        : OutputPump.start(from, to.orElseGet(OutputStream::nullOutputStream));
  }

  private static void endWithWhatIsThere(@Nullable OutputPump pump) {
    if (pump != null) {
      pump.endWithWhatIsThere();
    }
  }

  private static void join(@Nullable OutputPump pump) throws InterruptedException {
    if (pump != null) {
      pump.join();
    }
  }

  private static void stop(@Nullable OutputPump pump) {
    if (pump != null) {
      pump.stop();
    }
  }

  private static @Nullable Thread input(@Nullable FdWriter to, CommandStreams streams) {
    InputStream from = streams.stdin().orElse(null);
    if (to == null || from == null) {
      return null;
    }
    return Thread.ofVirtual()
        .name(Thread.currentThread().getName())
        .start(() -> {
          try (to) {
            byte[] buffer = new byte[32 << 10];
            boolean open = true;
            int n = from.read(buffer);
            while (open && n >= 0) {
              open = to.write(buffer, n);
              n = open ? from.read(buffer) : n;
            }
            if (open && streams.tty()) {
              var _ = to.write(END_OF_INPUT, 1);
            }
          } catch (InterruptedException | IOException e) {
            // The command has ended, or the client is gone; both are noticed elsewhere.
          }
        });
  }

  /** Keeps the latest size until there is a terminal. */
  private static final class Resizes implements Consumer<TerminalSize> {
    private final AtomicReference<@Nullable TerminalSize> latest = new AtomicReference<>();
    private volatile @Nullable ExecProcess process;

    @Override
    public void accept(TerminalSize size) {
      latest.set(size);
      ExecProcess running = process;
      if (running != null) {
        running.resize(size.height(), size.width());
      }
    }

    @Nullable ConsoleSize latest() {
      TerminalSize size = latest.get();
      return size == null ? null : new ConsoleSize(size.height(), size.width());
    }

    void applyTo(ExecProcess begun) {
      process = begun;
      TerminalSize size = latest.get();
      if (size != null) {
        begun.resize(size.height(), size.width());
      }
    }
  }
}
