package io.berth.streaming;

import com.google.errorprone.annotations.CanIgnoreReturnValue;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.handler.codec.base64.Base64;
import io.netty.handler.codec.base64.Base64Dialect;
import io.netty.handler.codec.http.websocketx.BinaryWebSocketFrame;
import io.netty.handler.codec.http.websocketx.CloseWebSocketFrame;
import io.netty.handler.codec.http.websocketx.ContinuationWebSocketFrame;
import io.netty.handler.codec.http.websocketx.PingWebSocketFrame;
import io.netty.handler.codec.http.websocketx.PongWebSocketFrame;
import io.netty.handler.codec.http.websocketx.TextWebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketCloseStatus;
import io.netty.handler.codec.http.websocketx.WebSocketFrame;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Streams over WebSocket messages, as Kubernetes has them: the first byte of a message is the
 * channel's number. In the base64 form it is a digit, and base64 follows it; messages have to come
 * whole there.
 */
final class WebSocketChannels extends SimpleChannelInboundHandler<WebSocketFrame> {
  /** What is done with the channels. */
  interface Listener {
    void connected(WebSocketChannels channels);

    /** The connection is gone; all streams have been reset. */
    void disconnected();
  }

  /** Version 5: {@code {255, channel}} says that the client sends no more on the channel. */
  private static final int CLOSE = 255;

  private final Link link;
  private final Form form;
  private final Listener listener;
  private final Map<Integer, Stream> streams = new HashMap<>();
  private @Nullable ChannelHandlerContext context;
  private int continued = -1; // the channel whose message isn't complete; -1 outside of messages
  private boolean closing;

  /** How messages are written. */
  enum Form {
    BINARY,
    /** With the close channel of version 5. */
    BINARY_WITH_CLOSE,
    BASE64
  }

  WebSocketChannels(Link link, Form form, Listener listener) {
    this.link = link;
    this.form = form;
    this.listener = listener;
  }

  Link link() {
    return link;
  }

  /**
   * A channel on which the client may send and is sent to. Set its receiver before anything comes.
   */
  Stream open(int number) {
    Stream stream = new Stream(number);
    streams.put(number, stream);
    return stream;
  }

  @Override
  public void handlerAdded(ChannelHandlerContext added) {
    context = added;
    listener.connected(this);
  }

  private ChannelHandlerContext context() {
    if (context == null) {
      throw new IllegalStateException("not in a pipeline");
    }
    return context;
  }

  @Override
  protected void channelRead0(ChannelHandlerContext ctx, WebSocketFrame frame) {
    switch (frame) {
      case PingWebSocketFrame ping -> write(new PongWebSocketFrame(ping.content().retain()));
      case PongWebSocketFrame _ -> {}
      case CloseWebSocketFrame close -> {
        if (!closing) {
          closing = true;
          write(close.retainedDuplicate());
        }
        link.close();
      }
      case ContinuationWebSocketFrame more -> {
        if (continued >= 0) {
          payload(continued, more.content().retainedSlice());
        }
        if (more.isFinalFragment()) {
          continued = -1;
        }
      }
      default -> message(frame);
    }
  }

  private void message(WebSocketFrame frame) {
    ByteBuf content = frame.content();
    if (!content.isReadable()) {
      return;
    }
    int number = content.readUnsignedByte();
    if (form == Form.BASE64) {
      number -= '0';
    }
    continued = frame.isFinalFragment() ? -1 : number;
    if (form == Form.BINARY_WITH_CLOSE && number == CLOSE) {
      Stream closed = content.isReadable() ? streams.get((int) content.readUnsignedByte()) : null;
      if (closed != null) {
        closed.onEnd();
      }
      return;
    }
    payload(number, decode(content));
  }

  /** Owned by the caller. */
  private ByteBuf decode(ByteBuf content) {
    if (form != Form.BASE64) {
      return content.retainedSlice();
    }
    return content.isReadable()
        ? Base64.decode(content, Base64Dialect.STANDARD)
        : Unpooled.EMPTY_BUFFER.slice();
  }

  private void payload(int number, ByteBuf data) {
    Stream stream = streams.get(number);
    int count = data.readableBytes();
    if (stream == null || count == 0) {
      data.release();
      return;
    }
    link.used();
    link.hold(count);
    stream.onData(data);
  }

  /** The first message, empty, tells the client that all is set up. */
  void greet(int channel) {
    write(channel, Unpooled.EMPTY_BUFFER);
  }

  @CanIgnoreReturnValue
  private ChannelFuture write(WebSocketFrame frame) {
    return context().writeAndFlush(frame);
  }

  @CanIgnoreReturnValue
  private ChannelFuture write(int channel, ByteBuf data) {
    ChannelHandlerContext ctx = context();
    if (form == Form.BASE64) {
      ByteBuf text =
          data.isReadable()
              ? Base64.encode(data, false, Base64Dialect.STANDARD)
              : Unpooled.EMPTY_BUFFER;
      data.release();
      ByteBuf digit = ByteBufUtil.writeAscii(ctx.alloc(), String.valueOf(channel));
      return write(new TextWebSocketFrame(Unpooled.wrappedBuffer(digit, text)));
    }
    ByteBuf number = ctx.alloc().buffer(1).writeByte(channel);
    return write(new BinaryWebSocketFrame(Unpooled.wrappedBuffer(number, data)));
  }

  /** Ends the connection after {@code last}. */
  void close(ChannelFuture last) {
    last.addListener(_ -> {
      if (!closing) {
        closing = true;
        link.finish(
            context().writeAndFlush(new CloseWebSocketFrame(WebSocketCloseStatus.NORMAL_CLOSURE)));
      }
    });
  }

  @Override
  public void channelWritabilityChanged(ChannelHandlerContext ctx) {
    if (ctx.channel().isWritable()) {
      streams.values().forEach(Stream::tellWritable);
    }
  }

  @Override
  public void channelInactive(ChannelHandlerContext ctx) {
    streams.values().forEach(Stream::onReset);
    listener.disconnected();
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
    link.fail(cause);
  }

  /** One channel. It can't be half-closed towards the client: protocols without a sign for it. */
  final class Stream extends ClientStream {
    private final int number;
    private @Nullable Receiver receiver;
    private @Nullable ChannelFuture last;
    private boolean clientEnded;

    private Stream(int number) {
      this.number = number;
    }

    void begin(Receiver firstReceiver) {
      receiver = firstReceiver;
    }

    private void onData(ByteBuf data) {
      if (receiver == null || clientEnded) {
        int count = data.readableBytes();
        data.release();
        consumed(count);
      } else {
        receiver.data(data);
      }
    }

    private void onEnd() {
      if (receiver != null && !clientEnded) {
        clientEnded = true;
        receiver.end();
      }
    }

    private void onReset() {
      if (receiver != null) {
        receiver.reset();
      }
    }

    private void tellWritable() {
      if (receiver != null) {
        receiver.writable();
      }
    }

    @Override
    ChannelFuture send(ByteBuf data) {
      link.used();
      last = write(number, data);
      return last;
    }

    @Override
    ChannelFuture end() {
      return last == null ? context().newSucceededFuture() : last;
    }

    @Override
    void reset() {}

    @Override
    void consumed(int bytes) {
      link.release(bytes);
    }

    @Override
    boolean isWritable() {
      return context().channel().isWritable();
    }
  }
}
