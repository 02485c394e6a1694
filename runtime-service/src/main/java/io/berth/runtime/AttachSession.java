package io.berth.runtime;

import io.berth.linux.ErrnoException;
import io.berth.linux.FdReader;
import io.berth.linux.FdWriter;
import io.berth.streaming.CommandResult;
import io.berth.streaming.CommandStreams;
import io.berth.streaming.CommandTarget;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.time.Duration;
import java.util.Optional;

/**
 * A client at the streams of a container's first process, as behind {@code kubectl attach}. Conmon
 * gives each client the output from now on, in packets that begin with the number of the stream,
 * and takes what they send as input. It waits for each of them, and the container with it, so a
 * client that takes nothing any more has to go.
 */
final class AttachSession implements CommandTarget {
  private static final int STDERR = 3;
  private static final int LARGEST_INPUT = 16 << 10; // conmon would cut packets of 32 KiB
  private static final byte[] END_OF_INPUT = {4}; // VEOF, termios(3): what Ctrl-D sends

  /** For how long one client may hold up the container. */
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  private static final Duration LOOK = Duration.ofSeconds(1);

  private final ContainerStore store;
  private final ContainerLayout layout;
  private final MonitorControl monitors;
  private final ContainerId id;

  /** Describes the session; nothing happens before {@link #run}. */
  AttachSession(
      ContainerStore store, ContainerLayout layout, MonitorControl monitors, ContainerId id) {
    this.store = store;
    this.layout = layout;
    this.monitors = monitors;
    this.id = id;
  }

  @Override
  public CommandResult run(CommandStreams streams) throws InterruptedException {
    try {
      Container container = store.get(id.value());
      RemoteCommands.requireRunning(container);
      try (AttachSocket socket =
              AttachSocket.connect(layout.bundle(id), mayEndInput(container, streams));
          MonitorControl.Sizes sizes = monitors.sizes(container)) {
        if (streams.tty()) {
          streams.onResize(sizes);
        }
        return follow(socket, container, streams);
      }
    } catch (ContainerException e) {
      return new CommandResult.Failed(String.valueOf(e.getMessage()));
    } catch (ErrnoException e) {
      return new CommandResult.Failed("attach to container " + id + ": " + e.getMessage());
    }
  }

  /**
   * Where the input ends with its first sender (stdin_once), conmon takes every client that leaves
   * for that one, also one that never could send.
   */
  private static boolean mayEndInput(Container container, CommandStreams streams) {
    return streams.stdin().isPresent()
        || !container.config().stdin()
        || !container.config().stdinOnce();
  }

  private CommandResult follow(AttachSocket socket, Container container, CommandStreams streams)
      throws InterruptedException {
    if (streams.stdin().isEmpty() && mayEndInput(container, streams)) {
      socket.onlyLook();
    }
    Output output = new Output(socket.output(), streams);
    Thread reader = Thread.ofVirtual().name(Thread.currentThread().getName()).start(output);
    Optional<Thread> input = streams.stdin().map(from -> send(from, socket.input(), container));
    try {
      while (!reader.join(LOOK)) {
        if (output.isStuck()) {
          return new CommandResult.Failed(
              "attach to container "
                  + id
                  + ": this client has taken no output for "
                  + PATIENCE.toSeconds()
                  + " s and would hold up the container; attach again");
        }
      }
      return new CommandResult.Exited(0);
    } finally {
      reader.interrupt();
      input.ifPresent(Thread::interrupt);
    }
  }

  /** The container's output to the client, until either ends. */
  private static final class Output implements Runnable {
    private final FdReader from;
    private final Optional<OutputStream> stdout;
    private final Optional<OutputStream> stderr;
    private volatile long writingSince; // System.nanoTime(), or 0

    Output(FdReader from, CommandStreams streams) {
      this.from = from;
      this.stdout = streams.stdout();
      this.stderr = streams.stderr();
    }

    @Override
    public void run() {
      try (from) {
        byte[] packet = AttachSocket.packet();
        for (int n = from.read(packet); n > 0; n = from.read(packet)) {
          Optional<OutputStream> to = packet[0] == STDERR ? stderr : stdout;
          if (to.isPresent()) {
            writingSince = System.nanoTime() | 1;
            to.get().write(packet, 1, n - 1);
            writingSince = 0;
          }
        }
      } catch (IOException | InterruptedException e) {
        // the client has gone
      }
    }

    boolean isStuck() {
      long since = writingSince;
      return since != 0 && System.nanoTime() - since > PATIENCE.toNanos();
    }
  }

  private static Thread send(InputStream from, FdWriter to, Container container) {
    return Thread.ofVirtual()
        .name(Thread.currentThread().getName())
        .start(() -> {
          try (to) {
            byte[] packet = new byte[LARGEST_INPUT];
            for (int n = from.read(packet); n >= 0; n = from.read(packet)) {
              if (!to.write(packet, n)) {
                return;
              }
            }
            // Otherwise others may go on sending.
            if (container.config().stdinOnce()) {
              if (container.config().tty()) {
                var _ = to.write(END_OF_INPUT, 1);
              } else {
                var _ = to.writeEmptyPacket();
              }
            }
          } catch (IOException | InterruptedException e) {
            // the client or the container has gone
          }
        });
  }
}
