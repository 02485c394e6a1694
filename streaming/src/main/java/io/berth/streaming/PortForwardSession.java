package io.berth.streaming;

import io.netty.handler.codec.spdy.SpdyHeaders;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The port-forward protocol over SPDY, version 1: each connection is a pair of streams, joined by
 * their request id. What goes wrong with one pair stays on it.
 */
final class PortForwardSession implements SpdySession.Listener {
  private final Forwarder forwarder;
  private final Map<String, Pair> incomplete = new HashMap<>();
  private final Set<Forwarding> open = new HashSet<>();
  private @Nullable SpdySession spdy;

  PortForwardSession(Forwarder forwarder) {
    this.forwarder = forwarder;
  }

  private static final class Pair {
    private @Nullable ClientStream error;
    private @Nullable Forwarding data;
  }

  @Override
  public void connected(SpdySession connected) {
    spdy = connected;
    connected.link().watchIdle(connected.link()::close);
  }

  private SpdySession spdy() {
    if (spdy == null) {
      throw new IllegalStateException("not connected");
    }
    return spdy;
  }

  @Override
  public ClientStream.@Nullable Receiver opened(SpdyStream stream, SpdyHeaders headers) {
    int port = port(headers.getAsString("port"));
    String type = String.valueOf(headers.getAsString("streamtype"));
    boolean isError = type.equals("error");
    if (!PortForwardRequest.isPort(port) || !(isError || type.equals("data"))) {
      return null;
    }
    String requestId = headers.getAsString("requestid");
    if (requestId == null) {
      // Old clients open the error stream first and the data stream right after it.
      requestId = String.valueOf(isError ? stream.id() : stream.id() - 2);
    }
    String id = requestId;
    Pair pair = incomplete.computeIfAbsent(id, _ -> begin(id));
    if (isError ? pair.error != null : pair.data != null) {
      return null;
    }
    ClientStream.Receiver receiver;
    if (isError) {
      pair.error = stream;
      receiver = new Ignored(stream);
    } else {
      var forwarding = new Forwarding(stream, port, forwarder, spdy().link(), open::remove);
      pair.data = forwarding;
      receiver = forwarding;
    }
    if (pair.error != null && pair.data != null) {
      incomplete.remove(id);
      open.add(pair.data);
      pair.data.start(pair.error);
    }
    return receiver;
  }

  private Pair begin(String id) {
    var pair = new Pair();
    spdy()
        .link()
        .later(
            () -> {
              if (incomplete.remove(id, pair)) {
                giveUp(id, pair);
              }
            },
            forwarder.creationTimeout());
    return pair;
  }

  private void giveUp(String id, Pair pair) {
    if (pair.error != null) {
      Forwarding.tell(
          pair.error,
          "forward a connection: the data stream of request %s didn't come within %s"
              .formatted(id, forwarder.creationTimeout()));
      pair.error.end();
    }
    if (pair.data != null) {
      pair.data.giveUp();
    }
  }

  private static int port(@Nullable String text) {
    try {
      return text == null ? 0 : Integer.parseInt(text);
    } catch (NumberFormatException notANumber) {
      return 0;
    }
  }

  @Override
  public void disconnected() {
    // Each stream of an open connection has been reset already, and with it the pod's side.
    incomplete.clear();
    open.clear();
  }

  /** Nobody sends on an error stream; clients half-close it at once. */
  record Ignored(ClientStream stream) implements ClientStream.Receiver {
    @Override
    public void data(io.netty.buffer.ByteBuf data) {
      int count = data.readableBytes();
      data.release();
      stream.consumed(count);
    }

    @Override
    public void end() {}

    @Override
    public void reset() {}
  }
}
