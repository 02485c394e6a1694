package io.berth.daemon;

import io.berth.daemon.DaemonException.Reason;
import io.grpc.BindableService;
import io.grpc.Server;
import io.grpc.netty.NettyServerBuilder;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.epoll.EpollServerDomainSocketChannel;
import io.netty.channel.unix.DomainSocketAddress;
import java.io.IOException;
import java.net.ConnectException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.GroupPrincipal;
import java.nio.file.attribute.PosixFileAttributeView;
import java.nio.file.attribute.PosixFilePermissions;
import java.nio.file.attribute.UserPrincipalNotFoundException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// gRPC over one unix socket: one event loop for the bytes, a virtual thread for each call.
final class CriServer implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(CriServer.class);
  // sun_path of unix(7) is 108 bytes with its final zero; binding uses one byte more than the name.
  private static final int LONGEST_PATH = 106;
  private static final Duration CANCELLED_CALLS_END = Duration.ofSeconds(5);

  private final DaemonConfig.Server settings;
  private final CallInterceptor interceptor;
  private final Server server;
  private final EventLoopGroup eventLoop;
  private final ExecutorService calls;

  private CriServer(
      DaemonConfig.Server settings,
      CallInterceptor interceptor,
      Server server,
      EventLoopGroup eventLoop,
      ExecutorService calls) {
    this.settings = settings;
    this.interceptor = interceptor;
    this.server = server;
    this.eventLoop = eventLoop;
    this.calls = calls;
  }

  /// Serves until closed. The socket appears with its final owner and mode, in one step, and is
  /// ready for calls when this returns.
  ///
  /// @throws DaemonException when somebody answers on the socket, or it cannot be made
  static CriServer start(
      DaemonConfig.Server settings, CallInterceptor interceptor, List<BindableService> services) {
    Path socket = settings.socket();
    Optional<GroupPrincipal> group = settings.group().map(CriServer::group);
    Path unnamed = prepare(socket);
    var eventLoop = new MultiThreadIoEventLoopGroup(1, EpollIoHandler.newFactory());
    ExecutorService calls =
        Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("call").factory());
    Server server = null;
    try {
      var builder =
          NettyServerBuilder.forAddress(new DomainSocketAddress(unnamed.toFile()))
              .channelType(EpollServerDomainSocketChannel.class)
              .bossEventLoopGroup(eventLoop)
              .workerEventLoopGroup(eventLoop)
              .executor(calls)
              .maxInboundMessageSize(Math.toIntExact(DaemonConfig.MESSAGE_LIMIT.bytes()))
              // Local clients may ping an idle connection as often as they like.
              .permitKeepAliveWithoutCalls(true)
              .permitKeepAliveTime(1, TimeUnit.SECONDS)
              .intercept(interceptor);
      services.forEach(builder::addService);
      server = builder.build().start();
      if (group.isPresent()) {
        Files.getFileAttributeView(unnamed, PosixFileAttributeView.class).setGroup(group.get());
      }
      Files.setPosixFilePermissions(unnamed, PosixFilePermissions.fromString("rw-rw----"));
      Files.move(
          unnamed, socket, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      log.info("serving on {}", socket);
      return new CriServer(settings, interceptor, server, eventLoop, calls);
    } catch (IOException failure) {
      if (server != null) {
        server.shutdownNow();
      }
      var _ = eventLoop.shutdownGracefully(0, 0, TimeUnit.SECONDS);
      calls.shutdownNow();
      throw new DaemonException(
          Reason.SOCKET, "serve on " + socket + ": " + failure.getMessage(), failure);
    }
  }

  /// Returns the name under which the socket is bound before it is moved to its own.
  private static Path prepare(Path socket) {
    if (socket.toString().getBytes(StandardCharsets.UTF_8).length > LONGEST_PATH) {
      throw new DaemonException(
          Reason.SOCKET,
          "serve on %s: the path is longer than the %d bytes that unix sockets allow"
              .formatted(socket, LONGEST_PATH),
          null);
    }
    Path unnamed = socket.resolveSibling(socket.getFileName() + "~");
    try {
      Path folder = socket.getParent();
      if (folder != null && !Files.isDirectory(folder)) {
        // Traversable for the socket's group, listable for root alone.
        Files.createDirectories(
            folder,
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx--x--x")));
      }
      if (Files.exists(socket, LinkOption.NOFOLLOW_LINKS)) {
        checkStale(socket);
      }
      Files.deleteIfExists(unnamed);
      return unnamed;
    } catch (IOException failure) {
      throw new DaemonException(
          Reason.SOCKET, "prepare the socket " + socket + ": " + failure, failure);
    }
  }

  /// A socket that nobody answers on is left from a daemon that was killed and may be replaced.
  private static void checkStale(Path socket) throws IOException {
    if (!Files.readAttributes(socket, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS)
        .isOther()) {
      throw new DaemonException(
          Reason.SOCKET,
          "serve on " + socket + ": there is a file that is no socket; move it away",
          null);
    }
    try (SocketChannel probe = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      probe.connect(UnixDomainSocketAddress.of(socket));
    } catch (ConnectException refused) {
      return;
    }
    throw new DaemonException(
        Reason.ALREADY_RUNNING,
        "serve on "
            + socket
            + ": somebody answers there already; stop that daemon, or set "
            + "server.socket to another path",
        null);
  }

  private static GroupPrincipal group(String name) {
    try {
      return FileSystems.getDefault()
          .getUserPrincipalLookupService()
          .lookupPrincipalByGroupName(name);
    } catch (UserPrincipalNotFoundException unknown) {
      throw new DaemonException(
          Reason.SOCKET,
          "give the socket to group \"%s\": there is no such group; make it or change server.group"
              .formatted(name),
          unknown);
    } catch (IOException failure) {
      throw new DaemonException(
          Reason.SOCKET, "look up the group \"" + name + "\": " + failure, failure);
    }
  }

  /// Takes no more calls, lets running ones finish within the configured grace, then cancels the
  /// rest. Idempotent.
  @Override
  public void close() {
    try {
      Files.deleteIfExists(settings.socket());
    } catch (IOException failure) {
      log.warn("could not remove the socket {}: {}", settings.socket(), failure.toString());
    }
    server.shutdown();
    interceptor.interruptStreams();
    boolean interrupted = false;
    try {
      if (!server.awaitTermination(settings.shutdownGrace().toMillis(), TimeUnit.MILLISECONDS)) {
        server.shutdownNow();
        if (!server.awaitTermination(CANCELLED_CALLS_END.toMillis(), TimeUnit.MILLISECONDS)) {
          log.warn("calls are still running after they were cancelled; leaving them behind");
        }
      }
    } catch (InterruptedException hurried) {
      server.shutdownNow();
      interrupted = true;
    }
    calls.shutdown();
    var _ = eventLoop.shutdownGracefully(50, 1000, TimeUnit.MILLISECONDS);
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
