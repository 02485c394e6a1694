package io.berth.streaming;

import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.ByteBufAllocator;
import io.netty.buffer.PooledByteBufAllocator;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.WriteBufferWaterMark;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.epoll.EpollServerSocketChannel;
import io.netty.channel.group.ChannelGroup;
import io.netty.channel.group.DefaultChannelGroup;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.util.concurrent.DefaultThreadFactory;
import java.net.InetSocketAddress;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Hands out URLs for exec, attach and port-forward, and serves the clients that come with them. A
 * URL is good for one client, for a while:
 *
 * <pre>{@code
 * String url = server.exec(new CommandRequest(true, true, true, false, target));
 * // the client connects to the url and opens its streams; then, on a virtual thread:
 * CommandResult result = target.run(streams);
 * // the client is told the result after the last byte
 * }</pre>
 *
 * <p>It has one event loop of its own, so that bytes in bulk don't hold up the CRI's calls; loop
 * and socket begin with the first URL, unless {@link #listen} asked for them, as most nodes stream
 * seldom.
 */
public final class StreamingServer implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(StreamingServer.class);
  private static final int MOST_REQUEST_BYTES = 16 << 10;
  private static final long TARGETS_END_SECONDS = 5;

  private final StreamingSettings settings;
  private final Tokens<StreamingRequest> tokens;
  private final ExecutorService targets =
      Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("stream-", 0).factory());
  private @Nullable Listening listening;
  private boolean closed;

  /** What exists from the first URL on. */
  private record Listening(
      EventLoopGroup loop, Channel socket, ChannelGroup clients, String baseUrl) {}

  public StreamingServer(StreamingSettings settings) {
    this.settings = settings;
    this.tokens = new Tokens<>(settings.tokenLife(), settings.maxTokens(), System::nanoTime);
  }

  /**
   * A URL for one exec.
   *
   * @throws StreamingException TOO_MANY, or UNAVAILABLE when the server can't listen
   */
  public String exec(CommandRequest request) {
    return url(new StreamingRequest.Exec(request));
  }

  /** As {@link #exec}, for one attach. */
  public String attach(CommandRequest request) {
    return url(new StreamingRequest.Attach(request));
  }

  /** As {@link #exec}, for one session of port-forwards. */
  public String portForward(PortForwardRequest request) {
    return url(new StreamingRequest.PortForward(request));
  }

  private String url(StreamingRequest request) {
    String base = listening().baseUrl;
    return base + request.path() + tokens.issue(request);
  }

  /**
   * Listens from now on, rather than from the first URL on, so that an address or certificate that
   * can't be used shows at once.
   *
   * @throws StreamingException UNAVAILABLE
   */
  public void listen() {
    listening();
  }

  /** How many clients are connected now. */
  public synchronized int connections() {
    return listening == null ? 0 : listening.clients.size();
  }

  private synchronized Listening listening() {
    if (closed) {
      throw new StreamingException(
          StreamingException.Reason.UNAVAILABLE, "offer a stream: the server is stopping");
    }
    if (listening == null) {
      listening = open();
    }
    return listening;
  }

  private Listening open() {
    @Nullable ServerTls tls = settings.tls().map(ServerTls::new).orElse(null);
    var loop =
        new MultiThreadIoEventLoopGroup(
            1, new DefaultThreadFactory("streaming", true), EpollIoHandler.newFactory());
    ChannelGroup clients = new DefaultChannelGroup(loop.next());
    ByteBufAllocator buffers = allocator();
    ChannelFuture bound =
        new ServerBootstrap()
            .group(loop)
            .channel(EpollServerSocketChannel.class)
            .childOption(ChannelOption.ALLOCATOR, buffers)
            .childOption(ChannelOption.TCP_NODELAY, true)
            .childOption(ChannelOption.SO_KEEPALIVE, true)
            .childOption(ChannelOption.ALLOW_HALF_CLOSURE, false)
            .childOption(
                ChannelOption.WRITE_BUFFER_WATER_MARK,
                new WriteBufferWaterMark(128 << 10, 256 << 10))
            .childHandler(
                new ChannelInitializer<Channel>() {
                  @Override
                  protected void initChannel(Channel client) {
                    clients.add(client);
                    if (tls != null) {
                      client.pipeline().addLast(tls.handler(buffers));
                    }
                    client
                        .pipeline()
                        .addLast(
                            new HttpServerCodec(),
                            new HttpObjectAggregator(MOST_REQUEST_BYTES),
                            new UpgradeHandler(settings, tokens, targets));
                  }
                })
            .bind(settings.address())
            .awaitUninterruptibly();
    if (!bound.isSuccess()) {
      var _ = loop.shutdownGracefully(0, 0, TimeUnit.SECONDS);
      throw new StreamingException(
          StreamingException.Reason.UNAVAILABLE,
          "listen for streams on %s: %s; correct streaming.address"
              .formatted(settings.address(), bound.cause().getMessage()),
          bound.cause());
    }
    String base = baseUrl((InetSocketAddress) bound.channel().localAddress(), tls != null);
    log.info("streaming on {}", base);
    return new Listening(loop, bound.channel(), clients, base);
  }

  /**
   * The daemon's own allocator takes each buffer from the heap anew, which suits its small
   * messages; here the same few direct buffers go round.
   */
  private static ByteBufAllocator allocator() {
    int heapArenas = 0;
    int directArenas = 1;
    int pageSize = 8192;
    int maxOrder = 5; // chunks of 256 KiB
    return new PooledByteBufAllocator(
        true, heapArenas, directArenas, pageSize, maxOrder, 64, 8, false);
  }

  private static String baseUrl(InetSocketAddress address, boolean tls) {
    // Who is told the URL reaches this machine by its loopback; no address fits a wildcard better.
    String host =
        address.getAddress().isAnyLocalAddress()
            ? "127.0.0.1"
            : address.getAddress().getHostAddress();
    return "%s://%s:%d"
        .formatted(
            tls ? "https" : "http",
            host.contains(":") ? "[" + host + "]" : host,
            address.getPort());
  }

  /** Ends all sessions; their targets are interrupted and get a few seconds to clear up. */
  @Override
  public void close() {
    Listening last;
    synchronized (this) {
      closed = true;
      last = listening;
      listening = null;
    }
    if (last != null) {
      last.socket.close().awaitUninterruptibly();
      last.clients.close().awaitUninterruptibly();
    }
    targets.shutdownNow();
    try {
      if (!targets.awaitTermination(TARGETS_END_SECONDS, TimeUnit.SECONDS)) {
        log.warn("streaming sessions are still clearing up; leaving them behind");
      }
    } catch (InterruptedException hurried) {
      Thread.currentThread().interrupt();
    }
    if (last != null) {
      var _ = last.loop.shutdownGracefully(0, 1, TimeUnit.SECONDS);
    }
  }
}
