package io.berth.streaming;

import static org.assertj.core.api.Assertions.assertThat;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;
import io.netty.channel.embedded.EmbeddedChannel;
import io.netty.handler.codec.spdy.DefaultSpdyDataFrame;
import io.netty.handler.codec.spdy.DefaultSpdyPingFrame;
import io.netty.handler.codec.spdy.DefaultSpdyRstStreamFrame;
import io.netty.handler.codec.spdy.DefaultSpdySynStreamFrame;
import io.netty.handler.codec.spdy.DefaultSpdyWindowUpdateFrame;
import io.netty.handler.codec.spdy.SpdyDataFrame;
import io.netty.handler.codec.spdy.SpdyFrame;
import io.netty.handler.codec.spdy.SpdyPingFrame;
import io.netty.handler.codec.spdy.SpdyRstStreamFrame;
import io.netty.handler.codec.spdy.SpdyStreamStatus;
import io.netty.handler.codec.spdy.SpdySynReplyFrame;
import io.netty.handler.codec.spdy.SpdyWindowUpdateFrame;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.net.SocketException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** A client over a real socket that sees frames as they are, and reads only when it is told to. */
final class SpdyClient implements AutoCloseable {
  private final Sink sink;
  private final Source source;
  private final Closeable connection;
  final Map<Integer, ByteArrayOutputStream> received = new HashMap<>();
  final Set<Integer> replied = new HashSet<>();
  final Set<Integer> ended = new HashSet<>();
  final Set<Integer> reset = new HashSet<>();
  final Set<Integer> pongs = new HashSet<>();
  final Map<Integer, Integer> credit = new HashMap<>();
  private final EmbeddedChannel codec = new EmbeddedChannel(SpdySession.codec());
  private int nextId = 1;
  private boolean closed;

  @FunctionalInterface
  interface Sink {
    void send(byte[] bytes) throws IOException;
  }

  @FunctionalInterface
  interface Source {
    /** Empty when the connection has ended. */
    byte[] next() throws IOException;
  }

  /** Through something that carries bytes in both directions. */
  SpdyClient(Sink sink, Source source) {
    this(sink, source, () -> {});
  }

  private SpdyClient(Sink sink, Source source, Closeable connection) {
    this.sink = sink;
    this.source = source;
    this.connection = connection;
  }

  SpdyClient(String url, String... protocols) throws IOException {
    this(new HttpClientSocket(URI.create(url)), protocols);
  }

  SpdyClient(HttpClientSocket http, String... protocols) throws IOException {
    byte[] buffer = new byte[64 << 10];
    this(
        bytes -> http.out().write(bytes),
        () -> Arrays.copyOf(buffer, Math.max(0, http.in().read(buffer))),
        http);
    StringBuilder head = new StringBuilder("Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n");
    for (String protocol : protocols) {
      head.append("X-Stream-Protocol-Version: ").append(protocol).append("\r\n");
    }
    assertThat(http.request("POST", head.toString())).startsWith("HTTP/1.1 101 ");
  }

  /** Opens a stream; its id is returned at once. */
  int open(String... headers) throws IOException {
    int id = nextId;
    nextId += 2;
    var frame = new DefaultSpdySynStreamFrame(id, 0, (byte) 0);
    for (int i = 0; i < headers.length; i += 2) {
      frame.headers().add(headers[i].toLowerCase(Locale.ROOT), headers[i + 1]);
    }
    received.put(id, new ByteArrayOutputStream());
    send(frame);
    return id;
  }

  void send(int stream, String text) throws IOException {
    send(stream, text.getBytes(StandardCharsets.UTF_8), false);
  }

  void send(int stream, byte[] bytes, boolean last) throws IOException {
    var frame = new DefaultSpdyDataFrame(stream, Unpooled.wrappedBuffer(bytes));
    frame.setLast(last);
    send(frame);
  }

  void end(int stream) throws IOException {
    send(stream, new byte[0], true);
  }

  void reset(int stream) throws IOException {
    send(new DefaultSpdyRstStreamFrame(stream, SpdyStreamStatus.CANCEL));
  }

  void ping(int id) throws IOException {
    send(new DefaultSpdyPingFrame(id));
  }

  void window(int stream, int more) throws IOException {
    send(new DefaultSpdyWindowUpdateFrame(stream, more));
  }

  int size(int stream) {
    ByteArrayOutputStream bytes = received.get(stream);
    return bytes == null ? 0 : bytes.size();
  }

  void send(SpdyFrame frame) throws IOException {
    codec.writeOutbound(frame);
    for (ByteBuf bytes; (bytes = codec.readOutbound()) != null; bytes.release()) {
      sink.send(ByteBufUtil.getBytes(bytes));
    }
  }

  /** Reads what comes next, if anything does before the connection ends. */
  boolean readSome() throws IOException {
    if (closed) {
      return false;
    }
    byte[] bytes = source.next();
    if (bytes.length == 0) {
      closed = true;
      return false;
    }
    codec.writeInbound(Unpooled.wrappedBuffer(bytes));
    for (Object frame; (frame = codec.readInbound()) != null; ) {
      switch (frame) {
        case SpdyDataFrame data -> {
          ByteArrayOutputStream stream = received.get(data.streamId());
          assertThat(stream).as("stream " + data.streamId()).isNotNull();
          data.content().readBytes(stream, data.content().readableBytes());
          data.release();
          if (data.isLast()) {
            ended.add(data.streamId());
          }
        }
        case SpdySynReplyFrame reply -> {
          assertThat(reply.headers().names()).contains(":status", ":version");
          replied.add(reply.streamId());
        }
        case SpdyRstStreamFrame gone -> reset.add(gone.streamId());
        case SpdyPingFrame pong -> pongs.add(pong.id());
        case SpdyWindowUpdateFrame update ->
            credit.merge(update.streamId(), update.deltaWindowSize(), Integer::sum);
        default -> {}
      }
    }
    return true;
  }

  /** False when the connection has ended. */
  boolean pingAndRead(int id) throws IOException {
    try {
      ping(id);
      return readSome();
    } catch (SocketException broken) {
      return false;
    }
  }

  @FunctionalInterface
  interface Condition {
    boolean holds() throws IOException;
  }

  /** Reads until the condition holds; fails when the connection ends before. */
  void readUntil(Condition condition) throws IOException {
    while (!condition.holds()) {
      assertThat(readSome()).as("the connection goes on").isTrue();
    }
  }

  void readToEnd(int stream) throws IOException {
    readUntil(() -> ended.contains(stream));
  }

  String text(int stream) {
    ByteArrayOutputStream bytes = received.get(stream);
    return bytes == null ? "" : bytes.toString(StandardCharsets.UTF_8);
  }

  @Override
  public void close() throws IOException {
    codec.finishAndReleaseAll();
    connection.close();
  }
}
