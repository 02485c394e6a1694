package io.berth.runtime;

import io.berth.linux.FdReader;
import io.berth.linux.Stages;
import io.berth.runtime.ContainerException.Reason;
import java.io.ByteArrayOutputStream;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Runs a command in a container and returns what it printed. No conmon: the daemon itself reads the
 * pipes.
 */
public final class ExecSync {
  /** So that the answer fits into one message of 16 MiB, with what surrounds the streams. */
  private static final int MESSAGE_LIMIT = (16 << 20) - (64 << 10);

  private static final Duration FOR_EVER = Duration.ofDays(10_000);

  private final int outputLimit;
  private final ContainerStore store;
  private final ExecLauncher launcher;

  ExecSync(RuntimeSettings settings, ContainerStore store, ExecLauncher launcher) {
    this.outputLimit = Math.min(settings.execOutputLimit(), MESSAGE_LIMIT);
    this.store = store;
    this.launcher = launcher;
  }

  /** What the command did; the streams are cut so that both together stay within the limit. */
  @SuppressWarnings("ArrayRecordComponent") // raw bytes; never compared
  record Output(int exitCode, byte[] stdout, byte[] stderr) {}

  /**
   * Runs the command as the container's own user, with its environment and limits.
   *
   * @param timeout zero: none
   * @throws ContainerException NOT_FOUND, INVALID, WRONG_STATE; TIMED_OUT after the command and all
   *     it started were killed; RUNTIME_FAILED when it could not begin
   */
  Output run(String idOrPrefix, List<String> command, Duration timeout)
      throws InterruptedException {
    Container container = store.get(idOrPrefix);
    Duration limit = timeout.isZero() ? FOR_EVER : timeout;
    long deadline = System.nanoTime() + limit.toNanos();
    Optional<ExecProcess> begun =
        Stages.time(
            "runtime exec",
            container.handler(),
            () ->
                launcher.start(
                    container, command, ExecLauncher.Wanted.OUTPUT_ONLY, limit, _ -> {}));
    if (begun.isPresent()) {
      try (ExecProcess process = begun.get()) {
        Duration left = Duration.ofNanos(Math.max(0, deadline - System.nanoTime()));
        Optional<Output> output = Stages.time("command", () -> follow(process, left));
        if (output.isPresent()) {
          return output.get();
        }
      }
    }
    throw new ContainerException(
        Reason.TIMED_OUT,
        ExecLauncher.operation(command, container.id())
            + ": command timed out after "
            + timeout.toSeconds()
            + " s and was killed with all it had started");
  }

  private Optional<Output> follow(ExecProcess process, Duration limit) throws InterruptedException {
    Collected out = new Collected(process.streams().takeStdout());
    Collected err = new Collected(process.streams().takeStderr());
    boolean ended = false;
    try {
      Optional<Integer> code = process.poll(limit);
      if (code.isEmpty()) {
        return Optional.empty();
      }
      // What it has left in the background may hold the pipes for ever: what it has written by now
      // is complete.
      byte[] stdout = out.toTheEnd();
      byte[] stderr = err.toTheEnd();
      ended = true;
      int room = Math.max(0, outputLimit - stdout.length);
      return Optional.of(
          new Output(
              code.get(), stdout, stderr.length > room ? Arrays.copyOf(stderr, room) : stderr));
    } finally {
      if (!ended) {
        kill(process);
      }
      out.stop();
      err.stop();
    }
  }

  private static void kill(ExecProcess process) throws InterruptedException {
    boolean interrupted = Thread.interrupted();
    try {
      process.kill();
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** One stream up to the limit; what exceeds it is dropped. */
  private final class Collected extends ByteArrayOutputStream {
    private final @Nullable OutputPump pump;

    Collected(@Nullable FdReader from) {
      super(256);
      pump = from == null ? null : OutputPump.start(from, this);
    }

    @Override
    public synchronized void write(byte[] bytes, int offset, int length) {
      super.write(bytes, offset, Math.min(length, Math.max(0, outputLimit - size())));
    }

    byte[] toTheEnd() throws InterruptedException {
      if (pump != null) {
        pump.endWithWhatIsThere();
        pump.join();
      }
      return toByteArray();
    }

    void stop() {
      if (pump != null) {
        pump.stop();
      }
    }
  }
}
