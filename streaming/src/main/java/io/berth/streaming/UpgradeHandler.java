package io.berth.streaming;

import static io.netty.handler.codec.http.HttpResponseStatus.BAD_REQUEST;
import static io.netty.handler.codec.http.HttpResponseStatus.FORBIDDEN;
import static io.netty.handler.codec.http.HttpResponseStatus.METHOD_NOT_ALLOWED;
import static io.netty.handler.codec.http.HttpResponseStatus.NOT_FOUND;
import static io.netty.handler.codec.http.HttpResponseStatus.SWITCHING_PROTOCOLS;

import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelPipeline;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaderValues;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.QueryStringDecoder;
import io.netty.handler.codec.http.websocketx.WebSocketDecoderConfig;
import io.netty.handler.codec.http.websocketx.WebSocketFrameAggregator;
import io.netty.handler.codec.http.websocketx.WebSocketServerHandshaker13;
import io.netty.handler.codec.http.websocketx.WebSocketServerHandshakerFactory;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The HTTP request that a connection begins with: token, protocol, upgrade. Whatever comes of it,
 * the token is spent.
 */
final class UpgradeHandler extends SimpleChannelInboundHandler<FullHttpRequest> {
  private static final Logger log = LoggerFactory.getLogger(UpgradeHandler.class);
  private static final String SPDY = "SPDY/3.1";
  private static final String STREAM_VERSION = "X-Stream-Protocol-Version";
  private static final String ACCEPTED_VERSIONS = "X-Accepted-Stream-Protocol-Versions";
  private static final List<String> COMMAND_PROTOCOLS =
      List.of("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io");
  private static final List<String> FORWARD_PROTOCOLS = List.of("portforward.k8s.io");

  private static final String TUNNEL = "SPDY/3.1+portforward.k8s.io";
  private static final List<String> COMMAND_SUBPROTOCOLS =
      List.of(
          "v5.channel.k8s.io",
          "v4.channel.k8s.io",
          "v4.base64.channel.k8s.io",
          "channel.k8s.io",
          "base64.channel.k8s.io");
  private static final List<String> FORWARD_SUBPROTOCOLS =
      List.of(TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io");
  // A frame is held as a whole before its first byte goes on.
  private static final int LONGEST_FRAME = 1 << 20;

  private final StreamingSettings settings;
  private final Tokens<StreamingRequest> tokens;
  private final ExecutorService targets;

  UpgradeHandler(
      StreamingSettings settings, Tokens<StreamingRequest> tokens, ExecutorService targets) {
    this.settings = settings;
    this.tokens = tokens;
    this.targets = targets;
  }

  @Override
  protected void channelRead0(ChannelHandlerContext context, FullHttpRequest http) {
    if (!http.decoderResult().isSuccess()) {
      refuse(context, BAD_REQUEST, "this is not HTTP");
      return;
    }
    if (!http.method().equals(HttpMethod.GET) && !http.method().equals(HttpMethod.POST)) {
      refuse(context, METHOD_NOT_ALLOWED, "use GET or POST");
      return;
    }
    Optional<StreamingRequest> request = redeem(new QueryStringDecoder(http.uri()).path());
    if (request.isEmpty()) {
      refuse(context, NOT_FOUND, "unknown, used or expired token; ask the runtime for a new URL");
      return;
    }
    String upgrade = http.headers().get(HttpHeaderNames.UPGRADE, "");
    boolean wanted =
        http.headers().containsValue(HttpHeaderNames.CONNECTION, HttpHeaderValues.UPGRADE, true);
    if (wanted && upgrade.equalsIgnoreCase(SPDY)) {
      spdy(context, http, request.get());
    } else if (wanted && HttpHeaderValues.WEBSOCKET.contentEqualsIgnoreCase(upgrade)) {
      webSocket(context, http, request.get());
    } else {
      refuse(
          context,
          BAD_REQUEST,
          "ask for an upgrade: Connection: Upgrade with Upgrade: " + SPDY + " or websocket");
    }
  }

  private Optional<StreamingRequest> redeem(String path) {
    int slash = path.lastIndexOf('/') + 1;
    return tokens
        .redeem(path.substring(slash))
        .filter(request -> request.path().equals(path.substring(0, slash)));
  }

  private void spdy(ChannelHandlerContext context, FullHttpRequest http, StreamingRequest request) {
    List<String> offered = listed(http, STREAM_VERSION);
    if (offered.isEmpty()) {
      refuse(context, BAD_REQUEST, STREAM_VERSION + " is missing");
      return;
    }
    List<String> known =
        request instanceof StreamingRequest.PortForward ? FORWARD_PROTOCOLS : COMMAND_PROTOCOLS;
    Optional<String> chosen = offered.stream().filter(known::contains).findFirst();
    if (chosen.isEmpty()) {
      FullHttpResponse response =
          text(FORBIDDEN, "none of %s is among %s".formatted(offered, known));
      known.forEach(version -> response.headers().add(ACCEPTED_VERSIONS, version));
      context.writeAndFlush(response).addListener(ChannelFutureListener.CLOSE);
      return;
    }
    var response = new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, SWITCHING_PROTOCOLS);
    response
        .headers()
        .set(HttpHeaderNames.CONNECTION, HttpHeaderValues.UPGRADE)
        .set(HttpHeaderNames.UPGRADE, SPDY)
        .set(STREAM_VERSION, chosen.get());
    var _ = context.writeAndFlush(response);
    var link = new Link(context.channel(), settings.idleTimeout());
    // Bytes that came with the request are handed on when its codec goes.
    context
        .pipeline()
        .addLast(
            link.gate(), SpdySession.codec(), new SpdySession(link, spdy(request, chosen.get())))
        .remove(this);
    context.pipeline().remove(HttpObjectAggregator.class);
    context.pipeline().remove(HttpServerCodec.class);
  }

  private void webSocket(
      ChannelHandlerContext context, FullHttpRequest http, StreamingRequest request) {
    List<String> offered = listed(http, HttpHeaderNames.SEC_WEBSOCKET_PROTOCOL.toString());
    List<String> known =
        request instanceof StreamingRequest.PortForward
            ? FORWARD_SUBPROTOCOLS
            : COMMAND_SUBPROTOCOLS;
    // Without any the client means the first form there was: version 1, binary.
    Optional<String> first =
        offered.isEmpty() ? Optional.of("") : offered.stream().filter(known::contains).findFirst();
    if (first.isEmpty()) {
      refuse(context, FORBIDDEN, "none of %s is among %s".formatted(offered, known));
      return;
    }
    String chosen = first.get();
    boolean tunnel = chosen.equals(TUNNEL);
    if (!tunnel
        && request instanceof StreamingRequest.PortForward(PortForwardRequest forward)
        && forward.ports().isEmpty()) {
      refuse(context, BAD_REQUEST, "this protocol needs the ports in the CRI request; it has none");
      return;
    }
    var decoder =
        WebSocketDecoderConfig.newBuilder()
            .maxFramePayloadLength(LONGEST_FRAME)
            .withUTF8Validator(false)
            .build();
    var handshaker =
        new WebSocketServerHandshaker13(http.uri(), chosen.isEmpty() ? null : chosen, decoder);
    if (!"13".equals(http.headers().get(HttpHeaderNames.SEC_WEBSOCKET_VERSION))) {
      var _ =
          WebSocketServerHandshakerFactory.sendUnsupportedVersionResponse(context.channel())
              .addListener(ChannelFutureListener.CLOSE);
      return;
    }
    ChannelPipeline pipeline = context.pipeline();
    pipeline.remove(this);
    var _ = handshaker.handshake(context.channel(), http);
    var link = new Link(context.channel(), settings.idleTimeout());
    if (tunnel) {
      pipeline.addLast(
          new WebSocketTunnel(),
          link.gate(),
          SpdySession.codec(),
          new SpdySession(link, spdy(request, "")));
    } else {
      if (form(chosen) == WebSocketChannels.Form.BASE64) {
        pipeline.addLast(new WebSocketFrameAggregator(LONGEST_FRAME));
      }
      pipeline.addLast(new WebSocketChannels(link, form(chosen), channels(request, chosen)));
    }
  }

  private WebSocketChannels.Listener channels(StreamingRequest request, String protocol) {
    boolean structured = protocol.startsWith("v");
    return switch (request) {
      case StreamingRequest.Exec(CommandRequest command) ->
          new WebSocketCommand(command, structured, targets);
      case StreamingRequest.Attach(CommandRequest command) ->
          new WebSocketCommand(command, structured, targets);
      case StreamingRequest.PortForward(PortForwardRequest forward) ->
          new WebSocketPorts(forward.ports(), forwarder(forward));
    };
  }

  private static WebSocketChannels.Form form(String protocol) {
    if (protocol.contains("base64")) {
      return WebSocketChannels.Form.BASE64;
    }
    return protocol.startsWith("v5")
        ? WebSocketChannels.Form.BINARY_WITH_CLOSE
        : WebSocketChannels.Form.BINARY;
  }

  private static List<String> listed(FullHttpRequest http, String header) {
    return http.headers().getAll(header).stream()
        .flatMap(line -> Arrays.stream(line.split(",", -1)))
        .map(String::strip)
        .filter(name -> !name.isEmpty())
        .toList();
  }

  private Forwarder forwarder(PortForwardRequest forward) {
    return new Forwarder(forward.target(), targets, settings.creationTimeout());
  }

  private SpdySession.Listener spdy(StreamingRequest request, String protocol) {
    return switch (request) {
      case StreamingRequest.Exec(CommandRequest command) -> command(command, protocol);
      case StreamingRequest.Attach(CommandRequest command) -> command(command, protocol);
      case StreamingRequest.PortForward(PortForwardRequest forward) ->
          new PortForwardSession(forwarder(forward));
    };
  }

  private SpdySession.Listener command(CommandRequest command, String protocol) {
    int version = COMMAND_PROTOCOLS.size() - COMMAND_PROTOCOLS.indexOf(protocol);
    return new SpdyCommand(command, version, targets, settings.creationTimeout());
  }

  private static void refuse(
      ChannelHandlerContext context, HttpResponseStatus status, String words) {
    context.writeAndFlush(text(status, words)).addListener(ChannelFutureListener.CLOSE);
  }

  private static FullHttpResponse text(HttpResponseStatus status, String words) {
    var response =
        new DefaultFullHttpResponse(
            HttpVersion.HTTP_1_1,
            status,
            Unpooled.copiedBuffer(words + "\n", StandardCharsets.UTF_8));
    response
        .headers()
        .set(HttpHeaderNames.CONTENT_TYPE, "text/plain; charset=utf-8")
        .set(HttpHeaderNames.CONNECTION, HttpHeaderValues.CLOSE)
        .setInt(HttpHeaderNames.CONTENT_LENGTH, response.content().readableBytes());
    return response;
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
    log.debug("a streaming client failed before its upgrade: {}", cause.toString());
    var _ = context.close();
  }
}
