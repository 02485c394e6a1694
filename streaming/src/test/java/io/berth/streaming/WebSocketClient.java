package io.berth.streaming;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Locale;

/** A client over a real socket that sees messages as they are; section numbers are RFC 6455's. */
final class WebSocketClient implements AutoCloseable {
  static final int CONTINUATION = 0;
  static final int TEXT = 1;
  static final int BINARY = 2;
  static final int CLOSE = 8;
  static final int PING = 9;
  static final int PONG = 10;

  private static final int FINAL = 0x80;
  private static final int MASKED = 0x80;
  private static final byte[] MASK = {1, 2, 3, 4};

  final HttpClientSocket http;
  final String answer;
  private final DataInputStream in;

  /** A whole frame; the server never cuts messages. */
  static final class Frame {
    private final int opcode;
    private final byte[] payload;

    private Frame(int opcode, byte[] payload) {
      this.opcode = opcode;
      this.payload = payload;
    }

    int opcode() {
      return opcode;
    }

    byte[] payload() {
      return payload;
    }

    String text() {
      return new String(payload, StandardCharsets.UTF_8);
    }
  }

  WebSocketClient(String url, String... protocols) throws IOException {
    http = new HttpClientSocket(URI.create(url));
    StringBuilder head =
        new StringBuilder(
            """
            Connection: keep-alive, Upgrade\r
            Upgrade: WebSocket\r
            Sec-WebSocket-Version: 13\r
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
            """);
    if (protocols.length > 0) {
      head.append("Sec-WebSocket-Protocol: ").append(String.join(", ", protocols)).append("\r\n");
    }
    answer = http.request("GET", head.toString()).toLowerCase(Locale.ROOT);
    in = new DataInputStream(http.in());
  }

  /** Connects, and expects the protocol to be accepted. */
  static WebSocketClient with(String url, String protocol) throws IOException {
    var client = protocol.isEmpty() ? new WebSocketClient(url) : new WebSocketClient(url, protocol);
    assertThat(client.answer)
        .startsWith("http/1.1 101 ")
        // The answer to the key that section 1.3 works out.
        .contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=");
    if (protocol.isEmpty()) {
      assertThat(client.answer).doesNotContain("sec-websocket-protocol");
    } else {
      assertThat(client.answer)
          .contains("sec-websocket-protocol: " + protocol.toLowerCase(Locale.ROOT) + "\r\n");
    }
    return client;
  }

  void send(int opcode, boolean last, byte[] payload) throws IOException {
    var frame = new ByteArrayOutputStream();
    frame.write(opcode | (last ? FINAL : 0));
    if (payload.length < 126) {
      frame.write(MASKED | payload.length);
    } else {
      frame.write(MASKED | 126);
      short length = (short) payload.length; // at most 65535 here
      frame.writeBytes(ByteBuffer.allocate(2).putShort(length).array());
    }
    frame.writeBytes(MASK);
    for (int i = 0; i < payload.length; i++) {
      frame.write(payload[i] ^ MASK[i % 4]);
    }
    http.out().write(frame.toByteArray());
    http.out().flush();
  }

  /** A binary message on a channel. */
  void send(int channel, String text) throws IOException {
    send(BINARY, true, onChannel(channel, text.getBytes(StandardCharsets.UTF_8)));
  }

  static byte[] onChannel(int channel, byte[] data) {
    return ByteBuffer.allocate(1 + data.length).put((byte) channel).put(data).array();
  }

  Frame read() throws IOException {
    int opcode = in.readUnsignedByte();
    assertThat(opcode & FINAL).isEqualTo(FINAL);
    long length = in.readUnsignedByte(); // servers don't mask
    if (length == 126) {
      length = in.readUnsignedShort();
    } else if (length == 127) {
      length = in.readLong();
    }
    byte[] payload = new byte[Math.toIntExact(length)];
    in.readFully(payload);
    return new Frame(opcode & ~FINAL, payload);
  }

  @Override
  public void close() throws IOException {
    http.close();
  }
}
