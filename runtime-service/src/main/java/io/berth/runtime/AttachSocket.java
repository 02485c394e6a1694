package io.berth.runtime;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.linux.Fd;
import io.berth.linux.FdReader;
import io.berth.linux.FdWriter;
import io.berth.linux.UnixSockets;
import java.nio.file.Path;
import java.time.Duration;

/**
 * A connection to a conmon's attach socket.
 *
 * <p>A conmon (2.2.1 and all before) that writes to a client which has gone, and hears only then
 * that it has, uses memory that it has freed: it may end, and the container's output and exit code
 * with it. So this side takes leave first, by an empty packet, which conmon reads as the end of the
 * input; and it goes on taking output until conmon has acted on that. From then on nothing it does
 * can harm.
 */
final class AttachSocket implements AutoCloseable {
  private static final int LARGEST_PACKET = 8192 + 1; // conmon's buffer, and the stream's number

  /** Conmon answers in a millisecond unless the container holds it up. */
  private static final Duration LEAVE = Duration.ofMillis(500);

  private static final Duration LONGEST_PAUSE = Duration.ofSeconds(1);

  private final Fd socket;
  private final boolean endsInput;

  private AttachSocket(Fd socket, boolean endsInput) {
    this.socket = socket;
    this.endsInput = endsInput;
  }

  /**
   * @param endsInput whether conmon may take this client's end for the end of the container's
   *     input; if not, the connection is kept until the container's end
   * @throws io.berth.linux.ErrnoException when there is no conmon
   */
  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // closed by leave and stay
  static AttachSocket connect(Path bundle, boolean endsInput) {
    return new AttachSocket(UnixSockets.connectPackets(bundle, "attach"), endsInput);
  }

  /** Of packets, each with the number of its stream first. The caller's to close. */
  FdReader output() {
    return new FdReader(socket.duplicate());
  }

  /** The caller's to close. */
  FdWriter input() {
    return new FdWriter(socket.duplicate());
  }

  static byte[] packet() {
    return new byte[LARGEST_PACKET];
  }

  /** Tells conmon that no input will come. */
  void onlyLook() throws InterruptedException {
    try (FdWriter input = input()) {
      var _ = input.writeEmptyPacket();
    }
  }

  /** Goes on in the background when conmon takes its time. */
  @Override
  public void close() {
    Thread leaving =
        Thread.ofVirtual()
            .name(Thread.currentThread().getName())
            .start(endsInput ? this::leave : this::stay);
    if (!endsInput) {
      return;
    }
    boolean interrupted = Thread.interrupted();
    try {
      var _ = leaving.join(LEAVE);
    } catch (InterruptedException e) {
      interrupted = true;
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void leave() {
    try (socket;
        FdWriter input = input()) {
      Thread rest = Thread.ofVirtual().start(this::drop);
      Duration pause = Duration.ofMillis(1);
      while (input.writeEmptyPacket() && !rest.join(pause)) {
        pause = pause.compareTo(LONGEST_PAUSE) < 0 ? pause.multipliedBy(2) : LONGEST_PAUSE;
      }
      rest.interrupt();
    } catch (InterruptedException e) {
      throw new IllegalStateException("nobody interrupts this thread", e);
    }
  }

  private void stay() {
    try (socket) {
      drop();
    }
  }

  /** Reads until conmon closes. */
  private void drop() {
    byte[] packet = packet();
    try (FdReader output = output()) {
      while (output.read(packet) > 0) {
        // as if the client had read it
      }
    } catch (InterruptedException e) {
      // conmon has let go
    }
  }
}
