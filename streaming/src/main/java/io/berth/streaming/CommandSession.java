package io.berth.streaming;

import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelFutureListener;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One client joined to one {@link CommandTarget}: begins when all streams are open, ends with the
 * result after the last byte. On the event loop, but for the target's own thread.
 */
final class CommandSession {
  private static final Logger log = LoggerFactory.getLogger(CommandSession.class);
  private final Link link;
  private final CommandRequest request;
  private final Channels channels;
  private final boolean structured;
  private final Consumer<ChannelFuture> closer;
  private @Nullable Future<?> target;
  private boolean over;

  /**
   * The streams of one client. Those that weren't asked for are absent.
   *
   * @param resizes absent where the client can't tell sizes
   */
  record Channels(
      StreamOutput error,
      @Nullable StreamInput stdin,
      @Nullable StreamOutput stdout,
      @Nullable StreamOutput stderr,
      @Nullable Resizes resizes) {}

  /**
   * @param structured see {@link CommandStatus#of}
   * @param closer ends the connection in the protocol's way, after what it is given
   */
  CommandSession(
      Link link,
      CommandRequest request,
      Channels channels,
      boolean structured,
      Consumer<ChannelFuture> closer) {
    this.link = link;
    this.request = request;
    this.channels = channels;
    this.structured = structured;
    this.closer = closer;
  }

  /**
   * @param targets runs each task on a virtual thread of its own
   */
  void start(ExecutorService targets) {
    link.watchIdle(() ->
        finish(
            new CommandResult.Failed(
                "the session ended after %s without traffic".formatted(link.idleTimeout()))));
    target = targets.submit(this::runTarget);
  }

  private void runTarget() {
    CommandResult result;
    try {
      result = request.target().run(new Streams());
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
      result = new CommandResult.Failed("the session was ended");
    } catch (RuntimeException | Error mistake) { // whatever it is, the client isn't left waiting
      log.warn("a streaming session failed", mistake);
      result = new CommandResult.Failed(String.valueOf(mistake.getMessage()));
    }
    CommandResult told = result;
    if (!link.loop().isShuttingDown()) {
      // After all writes of the target, which are tasks of this loop too.
      link.loop().execute(() -> finish(told));
    }
  }

  /** The connection is gone. */
  void clientGone() {
    over = true;
    stop();
  }

  private void stop() {
    link.budget().clientGone();
    if (channels.stdin != null) {
      channels.stdin.reset();
      channels.stdin.close();
    }
    if (target != null) {
      target.cancel(true);
    }
  }

  /** Tells the result after what was written, and closes. Only the first one counts. */
  void finish(CommandResult result) {
    if (over) {
      return;
    }
    over = true;
    List<ChannelFuture> ends = new ArrayList<>();
    if (channels.stdout != null) {
      ends.add(channels.stdout.stream().end());
    }
    if (channels.stderr != null) {
      ends.add(channels.stderr.stream().end());
    }
    tellAfter(ends, result);
    stop();
  }

  private void tellAfter(List<ChannelFuture> ends, CommandResult result) {
    if (ends.isEmpty()) {
      byte[] status = CommandStatus.of(result, structured);
      if (status.length > 0) {
        channels.error.stream().send(Unpooled.wrappedBuffer(status));
      }
      closer.accept(channels.error.stream().end());
      return;
    }
    ChannelFutureListener then = _ -> tellAfter(ends.subList(1, ends.size()), result);
    ends.getFirst().addListener(then);
  }

  /** What the target sees. */
  private final class Streams implements CommandStreams {
    @Override
    public boolean tty() {
      return request.tty();
    }

    @Override
    public Optional<InputStream> stdin() {
      return Optional.ofNullable(channels.stdin);
    }

    @Override
    public Optional<OutputStream> stdout() {
      return Optional.ofNullable(channels.stdout);
    }

    @Override
    public Optional<OutputStream> stderr() {
      return Optional.ofNullable(channels.stderr);
    }

    @Override
    public void onResize(Consumer<TerminalSize> listener) {
      if (channels.resizes != null) {
        channels.resizes.listen(listener);
      }
    }
  }
}
