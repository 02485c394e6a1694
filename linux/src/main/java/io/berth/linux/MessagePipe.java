package io.berth.linux;

import com.sun.jna.Native;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.jspecify.annotations.Nullable;

/**
 * A pipe through which a child process says one line, as conmon does through its sync pipe. The
 * child gets {@link #writeEnd}; after it has started, {@link #handOver} closes ours, so that the
 * child's end shows as the end of the pipe.
 */
public final class MessagePipe implements AutoCloseable {
  private static final int LIMIT = 1 << 20; // a runtime's error text; what is longer is cut

  private final Fd readEnd;
  private final Fd writeEnd;
  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream(256); // of the event loop
  private final CompletableFuture<@Nullable String> line = new CompletableFuture<>();

  private MessagePipe(Fd readEnd, Fd writeEnd) {
    this.readEnd = readEnd;
    this.writeEnd = writeEnd;
  }

  public static MessagePipe open() {
    Fd[] ends = Fd.pipe();
    Libc.check(
        Libc.fcntl(ends[0].number(), 4 /* F_SETFL */, Libc.O_NONBLOCK), "set a pipe non-blocking");
    MessagePipe pipe = new MessagePipe(ends[0], ends[1]);
    Reactor.get().watch(pipe.readEnd, pipe::readable);
    return pipe;
  }

  /** For the child, until {@link #handOver}. */
  public Fd writeEnd() {
    return writeEnd;
  }

  /** The child has its copy: lets go of ours. */
  public void handOver() {
    writeEnd.close();
  }

  /**
   * Waits for the first line.
   *
   * @return the line, or null when everyone who could write has gone without a whole one
   */
  public @Nullable String await() throws InterruptedException {
    try {
      return line.get();
    } catch (ExecutionException e) {
      throw new IllegalStateException(e);
    }
  }

  @Override
  public void close() {
    writeEnd.close();
    finish(null);
  }

  /**
   * On the event loop; never while the owner closes, or it could read from whatever has got the
   * number next.
   */
  private synchronized void readable() {
    byte[] buffer = new byte[4096];
    while (!line.isDone()) {
      long n = Libc.read(readEnd.number(), buffer, buffer.length);
      if (n > 0) {
        bytes.write(buffer, 0, (int) n);
        String text = bytes.toString(StandardCharsets.UTF_8);
        int end = text.indexOf('\n');
        if (end >= 0 || bytes.size() > LIMIT) {
          finish(end >= 0 ? text.substring(0, end) : text);
        }
      } else if (n == 0) {
        finish(null);
      } else {
        int errno = Native.getLastError();
        if (errno == Errno.EINTR) {
          continue;
        }
        if (errno != Errno.EAGAIN) {
          finish(null);
        }
        return;
      }
    }
  }

  /** The first to finish, the event loop or the owner, closes the read end. */
  private synchronized void finish(@Nullable String result) {
    if (line.complete(result)) {
      Reactor.get().forget(readEnd);
      readEnd.close();
    }
  }
}
