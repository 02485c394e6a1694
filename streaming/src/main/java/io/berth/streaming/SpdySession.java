package io.berth.streaming;

import com.google.errorprone.annotations.CanIgnoreReturnValue;
import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.handler.codec.spdy.DefaultSpdyGoAwayFrame;
import io.netty.handler.codec.spdy.DefaultSpdyPingFrame;
import io.netty.handler.codec.spdy.DefaultSpdyRstStreamFrame;
import io.netty.handler.codec.spdy.DefaultSpdySynReplyFrame;
import io.netty.handler.codec.spdy.DefaultSpdyWindowUpdateFrame;
import io.netty.handler.codec.spdy.SpdyDataFrame;
import io.netty.handler.codec.spdy.SpdyFrame;
import io.netty.handler.codec.spdy.SpdyFrameCodec;
import io.netty.handler.codec.spdy.SpdyHeaders;
import io.netty.handler.codec.spdy.SpdyPingFrame;
import io.netty.handler.codec.spdy.SpdyRstStreamFrame;
import io.netty.handler.codec.spdy.SpdySessionStatus;
import io.netty.handler.codec.spdy.SpdySettingsFrame;
import io.netty.handler.codec.spdy.SpdyStreamStatus;
import io.netty.handler.codec.spdy.SpdySynStreamFrame;
import io.netty.handler.codec.spdy.SpdyVersion;
import io.netty.handler.codec.spdy.SpdyWindowUpdateFrame;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * SPDY/3.1 from the server's side: streams that the client opens, and both sides' windows (sections
 * 2.3, 2.6.8). Netty's own session handler isn't used because it gives the client credit before
 * anyone has read.
 *
 * <p>Clients are of two kinds. Those built on Go's spdystream, which are nearly all, neither heed
 * windows nor ever open ours again; waiting for them would stop each stream after 64 KiB. Those
 * that keep windows say so with their first WINDOW_UPDATE or SETTINGS, and from then on theirs are
 * kept.
 */
final class SpdySession extends SimpleChannelInboundHandler<SpdyFrame> {
  /** What is done with the streams that a client opens. */
  interface Listener {
    /** The session can be used. */
    void connected(SpdySession session);

    /** Returns who takes the new stream's data, or null to refuse the stream. */
    ClientStream.@Nullable Receiver opened(SpdyStream stream, SpdyHeaders headers);

    /** The connection is gone; all streams have been reset. */
    void disconnected();
  }

  static final int INITIAL_WINDOW = 64 << 10;
  private static final int LARGEST_DATA_FRAME = 64 << 10;
  private static final int LARGEST_HEADERS = 16 << 10;
  private static final int MOST_STREAMS = 8192;

  private final Link link;
  private final Listener listener;
  private final Map<Integer, SpdyStream> streams = new HashMap<>();
  private @Nullable ChannelHandlerContext context;
  private int lastStreamId;
  private int credit; // consumed, and not told to the client yet
  private long window = INITIAL_WINDOW;
  private int initialWindow = INITIAL_WINDOW;
  private boolean windowsKept;
  private boolean closing;

  SpdySession(Link link, Listener listener) {
    super(SpdyFrame.class, false);
    this.link = link;
    this.listener = listener;
  }

  /** The frames' codec, to stand before this handler. */
  static SpdyFrameCodec codec() {
    return new SpdyFrameCodec(SpdyVersion.SPDY_3_1, LARGEST_DATA_FRAME, LARGEST_HEADERS, 6, 15, 8);
  }

  Link link() {
    return link;
  }

  @Override
  public void handlerAdded(ChannelHandlerContext added) {
    context = added;
    listener.connected(this);
  }

  @Override
  protected void channelRead0(ChannelHandlerContext ctx, SpdyFrame frame) {
    switch (frame) {
      case SpdyDataFrame data -> receive(data);
      case SpdySynStreamFrame open -> open(open);
      case SpdyRstStreamFrame reset -> {
        SpdyStream stream = streams.remove(reset.streamId());
        if (stream != null) {
          stream.onReset();
        }
      }
      case SpdyWindowUpdateFrame update -> widen(update);
      case SpdySettingsFrame settings
          when settings.isSet(SpdySettingsFrame.SETTINGS_INITIAL_WINDOW_SIZE) ->
          setInitialWindow(settings.getValue(SpdySettingsFrame.SETTINGS_INITIAL_WINDOW_SIZE));
      case SpdyPingFrame ping -> {
        if (ping.id() % 2 != 0) { // an even one would be the answer to a ping of ours
          write(new DefaultSpdyPingFrame(ping.id()));
        }
      }
      default -> {} // GOAWAY, HEADERS and replies call for nothing
    }
  }

  private void open(SpdySynStreamFrame frame) {
    int id = frame.streamId();
    link.used();
    if (frame.isInvalid() || id % 2 == 0 || id <= lastStreamId) {
      write(new DefaultSpdyRstStreamFrame(id, SpdyStreamStatus.PROTOCOL_ERROR));
      return;
    }
    lastStreamId = id;
    SpdyStream stream = new SpdyStream(this, id, initialWindow);
    ClientStream.Receiver receiver =
        closing || streams.size() >= MOST_STREAMS ? null : listener.opened(stream, frame.headers());
    if (receiver == null) {
      write(new DefaultSpdyRstStreamFrame(id, SpdyStreamStatus.REFUSED_STREAM));
      return;
    }
    streams.put(id, stream);
    write(reply(id));
    stream.begin(receiver);
    if (frame.isLast()) {
      stream.onEnd();
    }
  }

  /** With the headers of section 3.2.2; Go's library breaks off at a reply without any. */
  private static SpdyFrame reply(int id) {
    var reply = new DefaultSpdySynReplyFrame(id);
    reply.headers().set(SpdyHeaders.HttpNames.STATUS, "200");
    reply.headers().set(SpdyHeaders.HttpNames.VERSION, "HTTP/1.1");
    return reply;
  }

  private void receive(SpdyDataFrame frame) {
    link.used();
    int count = frame.content().readableBytes();
    SpdyStream stream = streams.get(frame.streamId());
    link.hold(count);
    if (stream == null || stream.hasEnded()) {
      frame.release();
      consumed(count);
      // Data may well be under way for a stream that was given up meanwhile.
      if (frame.streamId() > lastStreamId || frame.streamId() % 2 == 0) {
        write(new DefaultSpdyRstStreamFrame(frame.streamId(), SpdyStreamStatus.INVALID_STREAM));
      }
      return;
    }
    // The frame is a slice of what was read, all of which it would keep in memory while it waits.
    ByteBuf data = link.channel().alloc().buffer(count).writeBytes(frame.content());
    frame.release();
    stream.onData(data);
    if (frame.isLast()) {
      stream.onEnd();
    }
  }

  /** So many bytes of any stream are held no longer. */
  void consumed(int bytes) {
    link.release(bytes);
    credit += bytes;
    if (credit >= INITIAL_WINDOW / 2) {
      write(new DefaultSpdyWindowUpdateFrame(0, credit));
      credit = 0;
    }
  }

  private void widen(SpdyWindowUpdateFrame update) {
    windowsKept = true;
    if (update.streamId() == 0) {
      window += update.deltaWindowSize();
    } else {
      SpdyStream stream = streams.get(update.streamId());
      if (stream != null) {
        stream.widen(update.deltaWindowSize());
      }
    }
    drain();
  }

  private void setInitialWindow(int size) {
    windowsKept = true;
    int change = size - initialWindow;
    initialWindow = size;
    streams.values().forEach(stream -> stream.widen(change));
    drain();
  }

  private void drain() {
    for (SpdyStream stream : new ArrayList<>(streams.values())) {
      stream.drain();
    }
  }

  /** How much may be sent on a stream with this window. */
  int room(long streamWindow) {
    return windowsKept
        ? (int) Math.max(0, Math.min(Integer.MAX_VALUE, Math.min(window, streamWindow)))
        : Integer.MAX_VALUE;
  }

  void spent(int bytes) {
    window -= bytes;
    link.used();
  }

  @CanIgnoreReturnValue
  ChannelFuture write(SpdyFrame frame) {
    return context().writeAndFlush(frame);
  }

  ChannelHandlerContext context() {
    if (context == null) {
      throw new IllegalStateException("not in a pipeline");
    }
    return context;
  }

  void remove(SpdyStream stream) {
    streams.remove(stream.id());
  }

  /** Takes no more streams and ends the connection after {@code last}. */
  void close(ChannelFuture last) {
    closing = true;
    last.addListener(_ -> {
      var goAway = new DefaultSpdyGoAwayFrame(lastStreamId, SpdySessionStatus.OK);
      link.finish(write(goAway));
    });
  }

  @Override
  public void channelWritabilityChanged(ChannelHandlerContext ctx) {
    if (ctx.channel().isWritable()) {
      streams.values().forEach(SpdyStream::tellWritable);
    }
  }

  @Override
  public void channelInactive(ChannelHandlerContext ctx) {
    List<SpdyStream> open = new ArrayList<>(streams.values());
    streams.clear();
    open.forEach(SpdyStream::onReset);
    listener.disconnected();
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
    // Frames that make no sense, or a connection that broke: neither leaves anything to talk about.
    link.fail(cause);
  }
}
