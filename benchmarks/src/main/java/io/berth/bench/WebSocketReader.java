package io.berth.bench;

import io.berth.bench.BenchException.Reason;
import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/**
 * A client that throws away what one channel of a streaming URL brings. It knows no more of
 * WebSocket (RFC 6455) than that takes, as a client of a library would be what is measured.
 */
final class WebSocketReader {
  private static final Duration PATIENCE = Duration.ofMinutes(1);
  private static final int BUFFER = 64 << 10;

  /** The newest protocol of commands, and the channel of their standard output. */
  static final String COMMANDS = "v5.channel.k8s.io";

  static final int STDOUT = 1;

  private static final int OPCODE = 0x0f;
  private static final int CONTINUATION = 0;
  private static final int BINARY = 2;
  private static final int CLOSE = 8;

  /** Any 16 bytes in base64: the server only proves that it knows the protocol. */
  private static final String KEY = "YmVydGgtYmVuY2htYXJrIQ==";

  private final int wanted;
  private final byte[] buffer = new byte[BUFFER];
  private long toSkip;
  private int channel;
  private long first;
  private long last;
  private long bytes;

  private WebSocketReader(int wanted, long toSkip) {
    this.wanted = wanted;
    this.toSkip = toSkip;
  }

  /**
   * Reads until the server closes.
   *
   * @param url http, as the runtime answered, with a query if one is due
   * @param skipped bytes at the beginning of the channel that are no data
   * @param begun when the client began to ask for the URL, by System.nanoTime()
   */
  static StreamTimes read(String url, String protocol, int channel, int skipped, long begun) {
    URI address = URI.create(url);
    var reader = new WebSocketReader(channel, skipped);
    try (Socket socket = new Socket(address.getHost(), address.getPort())) {
      socket.setSoTimeout((int) PATIENCE.toMillis());
      socket.setTcpNoDelay(true);
      socket.getOutputStream().write(upgrade(address, protocol));
      var from = new DataInputStream(new BufferedInputStream(socket.getInputStream(), BUFFER));
      requireSwitched(from, url);
      reader.frames(from);
    } catch (IOException e) {
      throw new BenchException(Reason.CALL, "stream over " + url + ": " + e, e);
    }
    return StreamTimes.of(begun, reader.first, reader.last, reader.bytes);
  }

  private static byte[] upgrade(URI address, String protocol) {
    String query = address.getRawQuery() == null ? "" : "?" + address.getRawQuery();
    return String.join(
            "\r\n",
            "GET " + address.getRawPath() + query + " HTTP/1.1",
            "Host: " + address.getAuthority(),
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: " + KEY,
            "Sec-WebSocket-Protocol: " + protocol,
            "",
            "")
        .getBytes(StandardCharsets.US_ASCII);
  }

  private static void requireSwitched(DataInputStream from, String url) throws IOException {
    var answer = new StringBuilder();
    while (!answer.toString().endsWith("\r\n\r\n")) {
      answer.append((char) from.readUnsignedByte());
    }
    if (!answer.toString().startsWith("HTTP/1.1 101 ")) {
      throw new BenchException(Reason.CALL, "upgrade of " + url + ": " + answer, null);
    }
  }

  private void frames(DataInputStream from) throws IOException {
    for (int opcode = 0; opcode != CLOSE; ) {
      opcode = from.readUnsignedByte() & OPCODE;
      long length = length(from);
      if (opcode == BINARY && length > 0) {
        channel = from.readUnsignedByte();
        length--;
      }
      payload(from, length, (opcode == BINARY || opcode == CONTINUATION) && channel == wanted);
    }
  }

  /** A server's frames carry no mask. */
  private static long length(DataInputStream from) throws IOException {
    int length = from.readUnsignedByte();
    return switch (length) {
      case 126 -> from.readUnsignedShort();
      case 127 -> from.readLong();
      default -> length;
    };
  }

  private void payload(DataInputStream from, long length, boolean counted) throws IOException {
    for (long left = length; left > 0; ) {
      int n = from.read(buffer, 0, (int) Math.min(left, BUFFER));
      if (n < 0) {
        throw new EOFException("the connection ends in the middle of a message");
      }
      left -= n;
      if (counted) {
        long skipped = Math.min(toSkip, n);
        toSkip -= skipped;
        count(n - skipped);
      }
    }
  }

  private void count(long read) {
    if (read > 0) {
      last = System.nanoTime();
      first = first == 0 ? last : first;
      bytes += read;
    }
  }
}
