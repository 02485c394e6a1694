package io.berth.streaming;

import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelOutboundHandlerAdapter;
import io.netty.channel.EventLoop;
import io.netty.channel.epoll.EpollSocketChannel;
import io.netty.handler.codec.DecoderException;
import io.netty.handler.ssl.SslHandler;
import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One client's connection after the upgrade: what of it is held in memory, when it was last used,
 * how it ends. On the event loop unless a method says otherwise.
 */
final class Link {
  private static final Logger log = LoggerFactory.getLogger(Link.class);

  /**
   * Bytes that may wait for their readers: beyond it the connection isn't read. Clients built on
   * Go's SPDY library ignore windows, so TCP's own is the only one that holds them all.
   */
  private static final int MOST_HELD = 512 << 10;

  // With MOST_HELD, and with what is on its way through TLS and frames: below 1 MiB.
  private static final int MOST_UNSENT = 256 << 10;

  private static final Duration CLIENT_CLOSES = Duration.ofMillis(500);
  private static final Duration CLOSED_REGARDLESS = Duration.ofSeconds(5);

  private final Channel channel;
  private final Duration idleTimeout;
  private final WriteBudget budget = new WriteBudget(MOST_UNSENT);
  private int held;
  private long lastUse = System.nanoTime();

  Link(Channel channel, Duration idleTimeout) {
    this.channel = channel;
    this.idleTimeout = idleTimeout;
  }

  EventLoop loop() {
    return channel.eventLoop();
  }

  Channel channel() {
    return channel;
  }

  /** For writers that wait; of any thread. */
  WriteBudget budget() {
    return budget;
  }

  /** Payload of a stream came or went. */
  void used() {
    lastUse = System.nanoTime();
  }

  /** Runs {@code onIdle} once when no payload has passed for the idle timeout. */
  void watchIdle(Runnable onIdle) {
    long rest = idleTimeout.toNanos() - (System.nanoTime() - lastUse);
    if (!channel.isActive()) {
      return;
    }
    if (rest <= 0) {
      onIdle.run();
    } else {
      later(() -> watchIdle(onIdle), Duration.ofNanos(rest));
    }
  }

  Duration idleTimeout() {
    return idleTimeout;
  }

  void hold(int bytes) {
    held += bytes;
    if (held > MOST_HELD) {
      channel.config().setAutoRead(false);
    }
  }

  /**
   * Stands before a decoder: Netty's ask for more by themselves whenever a read gave them no whole
   * message, and the one for SPDY always does.
   */
  ChannelHandler gate() {
    return new ChannelOutboundHandlerAdapter() {
      @Override
      public void read(ChannelHandlerContext context) {
        if (channel.config().isAutoRead()) {
          context.read();
        }
      }
    };
  }

  void release(int bytes) {
    held -= bytes;
    if (held <= MOST_HELD / 2 && !channel.config().isAutoRead()) {
      channel.config().setAutoRead(true);
    }
  }

  /**
   * Ends the connection once everything sent before has left. The client gets the time to close
   * first: closing with unread input would make the kernel send a reset, which may overtake the
   * last bytes.
   */
  void finish(ChannelFuture last) {
    Runnable halfClose =
        () -> {
          if (channel instanceof EpollSocketChannel socket
              && channel.pipeline().get(SslHandler.class) == null) {
            var _ = socket.shutdownOutput();
          }
        };
    last.addListener(_ -> {
      later(halfClose, CLIENT_CLOSES);
      later(this::close, CLOSED_REGARDLESS);
    });
  }

  void close() {
    var _ = channel.close();
  }

  /** Ends the connection at once. That a client has gone away is its own business. */
  void fail(Throwable cause) {
    switch (cause) {
      case IOException _ -> {}
      case DecoderException _ ->
          log.info("streaming client {} is cut off: {}", channel.remoteAddress(), cause.toString());
      default -> log.warn("a streaming client is cut off", cause);
    }
    close();
  }

  /** Runs the task after the delay, unless the connection has gone by then. */
  void later(Runnable task, Duration delay) {
    var timer = loop().schedule(task, delay.toNanos(), TimeUnit.NANOSECONDS);
    ChannelFutureListener cancel = _ -> timer.cancel(false);
    channel.closeFuture().addListener(cancel);
    // A timer of hours must not be kept by, nor keep, what has come to its end.
    timer.addListener(_ -> channel.closeFuture().removeListener(cancel));
  }
}
