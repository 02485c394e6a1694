package io.berth.streaming;

import static io.berth.streaming.WebSocketClient.BINARY;
import static io.berth.streaming.WebSocketClient.CLOSE;
import static io.berth.streaming.WebSocketClient.TEXT;
import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.Loopback;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Port-forward over the channels of a WebSocket; what goes through its tunnel is SPDY again. */
@Timeout(240)
class WebSocketPortsTest {
  private static final String BINARY_CHANNELS = "v4.channel.k8s.io";

  private final StreamingServer server = new StreamingServer(TestSettings.ordinary());
  private ServerSocket pod;

  @BeforeEach
  void listen() throws IOException {
    pod = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    pod.setSoTimeout(60_000);
  }

  @AfterEach
  void stop() throws IOException {
    server.close();
    pod.close();
  }

  private String url(Integer... ports) {
    return server.portForward(
        new PortForwardRequest(
            List.of(ports),
            port -> Loopback.connect(Optional.empty(), port, Duration.ofSeconds(60))));
  }

  private static byte[] greeting(int channel, int port) {
    return new byte[] {(byte) channel, (byte) port, (byte) (port >> 8)};
  }

  @Test
  void eachPortHasItsChannelsAndTheConnectionEndsWithTheLast() throws IOException {
    int port = pod.getLocalPort();
    try (var client = WebSocketClient.with(url(port, port), BINARY_CHANNELS);
        Socket first = pod.accept();
        Socket second = pod.accept()) {
      for (int channel = 0; channel < 4; channel++) {
        assertThat(client.read().payload()).isEqualTo(greeting(channel, port));
      }
      client.send(0, "zero");
      client.send(2, "two");
      // The two are dialled at the same time, so either may be the first to come.
      int firstOne = first.getInputStream().read();
      assertThat(List.of(firstOne, second.getInputStream().read()))
          .containsExactlyInAnyOrder((int) 'z', (int) 't');
      String firstChannel = firstOne == 'z' ? "\u0000" : "\u0002";
      String secondChannel = firstOne == 'z' ? "\u0002" : "\u0000";
      first.getOutputStream().write("pong".getBytes(StandardCharsets.UTF_8));
      assertThat(client.read().text()).isEqualTo(firstChannel + "pong");
      first.shutdownOutput();
      second.getOutputStream().write("still here".getBytes(StandardCharsets.UTF_8));
      assertThat(client.read().text()).isEqualTo(secondChannel + "still here");
      second.shutdownOutput();
      assertThat(client.read().opcode()).isEqualTo(CLOSE);
    }
  }

  @Test
  void whatCannotBeReachedIsSaidOnItsErrorChannel() throws IOException {
    int closed;
    try (var gone = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      closed = gone.getLocalPort();
    }
    try (var client = WebSocketClient.with(url(closed), "v4.base64.channel.k8s.io")) {
      for (char channel : new char[] {'0', '1'}) {
        WebSocketClient.Frame greeting = client.read();
        assertThat(greeting.opcode()).isEqualTo(TEXT);
        assertThat(greeting.text().charAt(0)).isEqualTo(channel);
        assertThat(Base64.getDecoder().decode(greeting.text().substring(1)))
            .containsExactly((byte) closed, (byte) (closed >> 8));
      }
      String error = client.read().text();
      assertThat(error).startsWith("1");
      assertThat(new String(Base64.getDecoder().decode(error.substring(1)), StandardCharsets.UTF_8))
          .contains("connect to 127.0.0.1:" + closed);
      assertThat(client.read().opcode()).isEqualTo(CLOSE);
    }
  }

  @Test
  void channelsNeedThePortsInTheRequest() throws IOException {
    try (var client = new WebSocketClient(url(), BINARY_CHANNELS)) {
      assertThat(client.answer).startsWith("http/1.1 400 ");
    }
  }

  @Test
  void theTunnelCarriesSpdyInMessagesCutAnywhere() throws IOException {
    String tunnel = "SPDY/3.1+portforward.k8s.io";
    try (var client = WebSocketClient.with(url(), tunnel)) {
      var received = new ByteArrayOutputStream();
      var frames =
          new SpdyClient(
              sent -> {
                for (byte[] one : cut(sent, 5)) {
                  client.send(BINARY, true, one);
                }
              },
              () -> client.read().payload());
      String port = String.valueOf(pod.getLocalPort());
      int error = frames.open("streamType", "error", "port", port, "requestID", "0");
      frames.end(error);
      int data = frames.open("streamType", "data", "port", port, "requestID", "0");
      frames.send(data, "question");
      frames.end(data);
      try (Socket inPod = pod.accept()) {
        inPod.setSoTimeout(60_000);
        received.writeBytes(inPod.getInputStream().readAllBytes());
        inPod.getOutputStream().write("answer".getBytes(StandardCharsets.UTF_8));
      }
      frames.readToEnd(data);
      assertThat(received.toString(StandardCharsets.UTF_8)).isEqualTo("question");
      assertThat(frames.text(data)).isEqualTo("answer");
      frames.readToEnd(error);
      assertThat(frames.text(error)).isEmpty();
    }
  }

  private static List<byte[]> cut(byte[] bytes, int pieces) {
    int length = Math.max(1, bytes.length / pieces);
    return java.util.stream.IntStream.iterate(0, at -> at < bytes.length, at -> at + length)
        .mapToObj(
            at -> java.util.Arrays.copyOfRange(bytes, at, Math.min(bytes.length, at + length)))
        .toList();
  }
}
