package io.berth.streaming;

import io.netty.handler.codec.spdy.SpdyHeaders;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import org.jspecify.annotations.Nullable;

/**
 * The remote command protocol, versions 1 to 4, over SPDY: waits until the client has opened every
 * stream, in whatever order, and then begins.
 */
final class SpdyCommand implements SpdySession.Listener {
  private final CommandRequest request;
  private final int version;
  private final ExecutorService targets;
  private final Duration creationTimeout;
  private final Map<String, ClientStream.Receiver> receivers = new HashMap<>();
  private @Nullable CommandSession session;
  private @Nullable SpdySession spdy;

  /**
   * @param version 1 to 4
   */
  SpdyCommand(
      CommandRequest request, int version, ExecutorService targets, Duration creationTimeout) {
    this.request = request;
    this.version = version;
    this.targets = targets;
    this.creationTimeout = creationTimeout;
  }

  @Override
  public void connected(SpdySession connected) {
    spdy = connected;
    connected.link().later(this::giveUp, creationTimeout);
  }

  @Override
  public ClientStream.@Nullable Receiver opened(SpdyStream stream, SpdyHeaders headers) {
    String type = String.valueOf(headers.getAsString("streamtype"));
    if (session != null || !isExpected(type) || receivers.containsKey(type)) {
      return null;
    }
    Link link = spdy().link();
    ClientStream.Receiver receiver =
        switch (type) {
          case "stdin" -> new StreamInput(stream, link.loop());
          case "resize" -> new Resizes(stream);
          default -> new StreamOutput(stream, link);
        };
    receivers.put(type, receiver);
    if (receivers.size() == expected()) {
      // Not at once: this stream's reply has to leave before anything that the target writes.
      link.loop().execute(this::begin);
    }
    return receiver;
  }

  private boolean isExpected(String type) {
    return switch (type) {
      case "error" -> true;
      case "stdin" -> request.stdin();
      case "stdout" -> request.stdout();
      case "stderr" -> request.stderr();
      case "resize" -> hasResize();
      default -> false;
    };
  }

  private boolean hasResize() {
    return request.tty() && version >= 3;
  }

  private int expected() {
    return 1 + request.streams() + (hasResize() ? 1 : 0);
  }

  private boolean isWaiting() {
    return session == null && spdy().link().channel().isActive();
  }

  private void begin() {
    if (isWaiting() && receivers.get("error") instanceof StreamOutput error) {
      session = newSession(error);
      session.start(targets);
    }
  }

  /** Says so where the client would look for it, if it has got as far as that. */
  private void giveUp() {
    if (!isWaiting()) {
      return;
    }
    if (receivers.get("error") instanceof StreamOutput error) {
      session = newSession(error);
      session.finish(
          new CommandResult.Failed(
              "open the streams: only %s of %d came within %s"
                  .formatted(receivers.keySet(), expected(), creationTimeout)));
    } else {
      spdy().link().close();
    }
  }

  private CommandSession newSession(StreamOutput error) {
    return new CommandSession(
        spdy().link(),
        request,
        new CommandSession.Channels(
            error,
            (StreamInput) receivers.get("stdin"),
            (StreamOutput) receivers.get("stdout"),
            (StreamOutput) receivers.get("stderr"),
            (Resizes) receivers.get("resize")),
        version >= 4,
        spdy()::close);
  }

  private SpdySession spdy() {
    if (spdy == null) {
      throw new IllegalStateException("not connected");
    }
    return spdy;
  }

  @Override
  public void disconnected() {
    if (session != null) {
      session.clientGone();
    }
  }
}
