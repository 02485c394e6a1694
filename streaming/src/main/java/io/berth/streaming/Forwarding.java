package io.berth.streaming;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.socket.ChannelInputShutdownEvent;
import io.netty.channel.socket.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * One forwarded connection: a client's stream on one side, a socket in the pod on the other, both
 * on one event loop. Each side is read only as fast as the other takes.
 */
final class Forwarding implements ClientStream.Receiver {
  /** How long the client may go on sending to a pod that has said its last word. */
  private static final Duration AFTER_THE_PODS_END = Duration.ofSeconds(1);

  private final ClientStream data;
  private final int port;
  private final Forwarder forwarder;
  private final Link link;
  private final Consumer<Forwarding> onOver;
  private final Deque<ByteBuf> early = new ArrayDeque<>(); // came before the pod was connected
  private @Nullable ClientStream error;
  private @Nullable Channel pod;
  private boolean clientEnded;
  private boolean podEnded;
  private boolean over;

  Forwarding(
      ClientStream data, int port, Forwarder forwarder, Link link, Consumer<Forwarding> onOver) {
    this.data = data;
    this.port = port;
    this.forwarder = forwarder;
    this.link = link;
    this.onOver = onOver;
  }

  /** Text for the person at the client. */
  static void tell(ClientStream error, String words) {
    error.send(Unpooled.copiedBuffer(words, StandardCharsets.UTF_8));
  }

  /** Connects to the pod. */
  void start(ClientStream errorStream) {
    error = errorStream;
    forwarder.dial(port, link, new PodHandler(), this::connected, this::failed);
  }

  private void connected(Channel channel) {
    if (over) {
      var _ = channel.close();
      return;
    }
    pod = channel;
    for (ByteBuf piece; (piece = early.poll()) != null; ) {
      toPod(piece, channel);
    }
    if (clientEnded) {
      endPod(channel);
    }
    channel.config().setAutoRead(data.isWritable());
  }

  private void failed(String words) {
    if (!over && error != null) {
      tell(error, words);
    }
    abort();
  }

  @Override
  public void data(ByteBuf piece) {
    if (over) {
      drop(piece);
    } else if (pod == null) {
      early.add(piece);
    } else {
      toPod(piece, pod);
    }
  }

  private void toPod(ByteBuf piece, Channel channel) {
    int count = piece.readableBytes();
    ChannelFutureListener written = _ -> data.consumed(count);
    channel.writeAndFlush(piece).addListener(written);
  }

  private void drop(ByteBuf piece) {
    int count = piece.readableBytes();
    piece.release();
    data.consumed(count);
  }

  /**
   * The pod may answer for as long as it likes: the client will reset when it has lost interest.
   */
  @Override
  public void end() {
    clientEnded = true;
    if (podEnded) {
      finish();
    } else if (pod != null) {
      endPod(pod);
    }
  }

  /** Half-closes after all that was written before. */
  private static void endPod(Channel channel) {
    after(
        channel,
        () -> {
          var _ = ((SocketChannel) channel).shutdownOutput();
        });
  }

  private static void after(Channel channel, Runnable task) {
    ChannelFuture last = channel.writeAndFlush(Unpooled.EMPTY_BUFFER);
    ChannelFutureListener then = _ -> task.run();
    last.addListener(then);
  }

  @Override
  public void reset() {
    finish();
  }

  @Override
  public void writable() {
    if (pod != null) {
      pod.config().setAutoRead(true);
    }
  }

  private void podEnded() {
    if (over) {
      return;
    }
    podEnded = true;
    data.end();
    endError();
    if (clientEnded) {
      finish();
    } else {
      link.later(this::abort, AFTER_THE_PODS_END);
    }
  }

  /** The connection can't go on; nothing but this pair of streams notices. */
  private void abort() {
    if (!over) {
      data.reset();
      endError();
      finish();
    }
  }

  /** The pair never became complete. */
  void giveUp() {
    abort();
  }

  // An error stream that is closed without text is the client's sign that all went well, and one
  // that is never closed makes it wait.
  private void endError() {
    if (error != null) {
      error.end();
      error = null;
    }
  }

  private void finish() {
    if (over) {
      return;
    }
    over = true;
    endError();
    for (ByteBuf piece; (piece = early.poll()) != null; ) {
      drop(piece);
    }
    if (pod != null) {
      Channel last = pod;
      // What the client sent before is still delivered; a pod that takes nothing gets a second.
      after(
          last,
          () -> {
            var _ = last.close();
          });
      Runnable regardless =
          () -> {
            var _ = last.close();
          };
      var _ = last.eventLoop().schedule(regardless, 1, TimeUnit.SECONDS);
    }
    onOver.accept(this);
  }

  /** The socket in the pod. */
  private final class PodHandler extends ChannelInboundHandlerAdapter {
    @Override
    public void channelRead(ChannelHandlerContext context, Object message) {
      ByteBuf piece = (ByteBuf) message;
      if (over) {
        piece.release();
        return;
      }
      data.send(piece);
      if (!data.isWritable()) {
        context.channel().config().setAutoRead(false);
      }
    }

    @Override
    public void userEventTriggered(ChannelHandlerContext context, Object event) {
      if (event instanceof ChannelInputShutdownEvent) {
        podEnded();
      }
    }

    @Override
    public void channelInactive(ChannelHandlerContext context) {
      if (!podEnded) {
        abort();
      }
    }

    /** The pod reset the connection: no failure of forwarding, so no text, just an end. */
    @Override
    public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
      abort();
    }
  }
}
