package io.berth.streaming;

import io.berth.linux.Fd;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandler;
import io.netty.channel.ChannelOption;
import io.netty.channel.WriteBufferWaterMark;
import io.netty.channel.epoll.EpollSocketChannel;
import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.ExecutorService;
import java.util.function.Consumer;

/**
 * Makes the pod's ends of one session's connections: dials on a virtual thread, then hands the
 * socket to the client's event loop, so that a connection's bytes never change threads.
 *
 * @param dials runs each task on a virtual thread of its own
 */
record Forwarder(PortForwardTarget target, ExecutorService dials, Duration creationTimeout) {
  private static final WriteBufferWaterMark WATER_MARK =
      new WriteBufferWaterMark(32 << 10, 64 << 10);

  /**
   * Calls one of the two on the link's event loop: {@code connected} with a channel that reads
   * nothing yet.
   */
  void dial(
      int port,
      Link link,
      ChannelHandler handler,
      Consumer<Channel> connected,
      Consumer<String> failed) {
    dials.execute(() -> {
      try {
        Fd socket = target.connect(port);
        link.loop().execute(() -> adopt(socket, link, handler, connected, failed));
      } catch (InterruptedException stopped) {
        Thread.currentThread().interrupt();
        tell(link, failed, "forward port " + port + ": the session was ended");
      } catch (IOException | RuntimeException failure) {
        tell(link, failed, String.valueOf(failure.getMessage()));
      }
    });
  }

  private static void tell(Link link, Consumer<String> failed, String words) {
    if (!link.loop().isShuttingDown()) {
      link.loop().execute(() -> failed.accept(words));
    }
  }

  private static void adopt(
      Fd socket,
      Link link,
      ChannelHandler handler,
      Consumer<Channel> connected,
      Consumer<String> failed) {
    var pod = new EpollSocketChannel(socket.detach());
    pod.config()
        .setAutoRead(false)
        .setAllowHalfClosure(true)
        .setTcpNoDelay(true)
        .setOption(ChannelOption.ALLOCATOR, link.channel().alloc());
    pod.config().setWriteBufferWaterMark(WATER_MARK);
    pod.pipeline().addLast(handler);
    ChannelFutureListener registered =
        done -> {
          if (done.isSuccess()) {
            connected.accept(pod);
          } else {
            var _ = pod.close();
            failed.accept("take over the connection: " + done.cause().getMessage());
          }
        };
    link.loop().register(pod).addListener(registered);
  }
}
