package io.berth.streaming;

import static io.berth.streaming.WebSocketClient.BINARY;
import static io.berth.streaming.WebSocketClient.CLOSE;
import static io.berth.streaming.WebSocketClient.CONTINUATION;
import static io.berth.streaming.WebSocketClient.PING;
import static io.berth.streaming.WebSocketClient.PONG;
import static io.berth.streaming.WebSocketClient.TEXT;
import static io.berth.streaming.WebSocketClient.onChannel;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(240)
class WebSocketCommandTest {
  private static final String SUCCESS = "{\"status\":\"Success\"}";
  private static final int STDIN = 0;
  private static final int STDOUT = 1;
  private static final int STDERR = 2;
  private static final int ERROR = 3;
  private static final int RESIZE = 4;
  private static final int CLOSE_CHANNEL = 255;

  private final StreamingServer server = new StreamingServer(TestSettings.ordinary());

  @AfterEach
  void stop() {
    server.close();
  }

  /** Answers eleven bytes, so that it ends without a half-close too. */
  private static final CommandTarget ECHO =
      streams -> {
        try {
          streams.stdout().orElseThrow().write(streams.stdin().orElseThrow().readNBytes(11));
          streams.stderr().orElseThrow().write("done".getBytes(StandardCharsets.UTF_8));
          return new CommandResult.Exited(0);
        } catch (IOException failure) {
          return new CommandResult.Failed(String.valueOf(failure.getMessage()));
        }
      };

  private String echo() {
    return server.exec(new CommandRequest(true, true, true, false, ECHO));
  }

  /** Whole channels until the server closes; the first message is empty and comes from stdout. */
  private static Map<Integer, String> channels(WebSocketClient client) throws IOException {
    Map<Integer, ByteArrayOutputStream> channels = new TreeMap<>();
    boolean first = true;
    while (true) {
      WebSocketClient.Frame frame = client.read();
      if (frame.opcode() == CLOSE) {
        break;
      }
      boolean base64 = frame.opcode() == TEXT;
      int channel = base64 ? frame.payload()[0] - '0' : frame.payload()[0];
      byte[] data =
          base64
              ? Base64.getDecoder().decode(frame.text().substring(1))
              : java.util.Arrays.copyOfRange(frame.payload(), 1, frame.payload().length);
      if (first) {
        assertThat(channel).isEqualTo(STDOUT);
        assertThat(data).isEmpty();
        first = false;
      }
      channels.computeIfAbsent(channel, _ -> new ByteArrayOutputStream()).writeBytes(data);
    }
    Map<Integer, String> texts = new TreeMap<>();
    channels.forEach((number, bytes) -> texts.put(number, bytes.toString(StandardCharsets.UTF_8)));
    return texts;
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "channel.k8s.io", "v4.channel.k8s.io", "v5.channel.k8s.io"})
  void whatIsSentInBinaryComesBackAndTheResultAfterIt(String protocol) throws IOException {
    try (var client = WebSocketClient.with(echo(), protocol)) {
      client.send(STDIN, "hello ");
      client.send(STDIN, "world");
      assertThat(channels(client)).isEqualTo(expected(protocol));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"base64.channel.k8s.io", "v4.base64.channel.k8s.io"})
  void whatIsSentInBase64ComesBackAndTheResultAfterIt(String protocol) throws IOException {
    try (var client = WebSocketClient.with(echo(), protocol)) {
      for (String part : new String[] {"hello ", "world"}) {
        byte[] bytes = part.getBytes(StandardCharsets.UTF_8);
        String text = "0" + Base64.getEncoder().encodeToString(bytes);
        client.send(TEXT, true, text.getBytes(StandardCharsets.US_ASCII));
      }
      assertThat(channels(client)).isEqualTo(expected(protocol));
    }
  }

  private static Map<Integer, String> expected(String protocol) {
    Map<Integer, String> channels = new TreeMap<>(Map.of(STDOUT, "hello world", STDERR, "done"));
    if (protocol.startsWith("v")) {
      channels.put(ERROR, SUCCESS);
    }
    return channels;
  }

  @ParameterizedTest
  @CsvSource({"v5.channel.k8s.io, true", "v4.channel.k8s.io, false"})
  void standardInputEndsByTheCloseChannelOfVersionFiveAlone(String protocol, boolean ends)
      throws Exception {
    CountDownLatch ended = new CountDownLatch(1);
    CommandTarget target =
        streams -> {
          try {
            String all =
                new String(streams.stdin().orElseThrow().readAllBytes(), StandardCharsets.UTF_8);
            ended.countDown();
            streams.stdout().orElseThrow().write(all.getBytes(StandardCharsets.UTF_8));
            return new CommandResult.Exited(3);
          } catch (IOException gone) {
            return new CommandResult.Failed("gone");
          }
        };
    String url = server.exec(new CommandRequest(true, true, false, false, target));
    try (var client = WebSocketClient.with(url, protocol)) {
      client.send(STDIN, "all of it");
      client.send(BINARY, true, new byte[] {(byte) CLOSE_CHANNEL, STDIN});
      client.send(STDIN, "and no more");
      if (ends) {
        Map<Integer, String> channels = channels(client);
        assertThat(channels).containsEntry(STDOUT, "all of it");
        assertThat(channels.get(ERROR)).contains("\"reason\":\"ExitCode\",\"message\":\"3\"");
      } else {
        assertThat(ended.await(1, TimeUnit.SECONDS)).isFalse();
      }
    }
  }

  @Test
  void aMessageMayComeInPiecesWithPingsInBetween() throws IOException {
    try (var client = WebSocketClient.with(echo(), "v4.channel.k8s.io")) {
      client.send(BINARY, false, onChannel(STDIN, "hello".getBytes(StandardCharsets.UTF_8)));
      client.send(PING, true, new byte[] {42});
      client.send(CONTINUATION, false, " wor".getBytes(StandardCharsets.UTF_8));
      client.send(CONTINUATION, true, "ld".getBytes(StandardCharsets.UTF_8));
      assertThat(client.read().payload()).containsExactly(STDOUT);
      WebSocketClient.Frame pong = client.read();
      assertThat(pong.opcode()).isEqualTo(PONG);
      assertThat(pong.payload()).containsExactly(42);
      assertThat(client.read().text()).isEqualTo("\u0001hello world");
    }
  }

  @Test
  void aTerminalsSizesComeOnTheirChannel() throws IOException {
    CommandTarget target =
        streams -> {
          CountDownLatch told = new CountDownLatch(1);
          AtomicLong width = new AtomicLong();
          streams.onResize(size -> {
            width.set(size.width());
            told.countDown();
          });
          told.await();
          return new CommandResult.Failed("it is %d wide".formatted(width.get()));
        };
    String url = server.exec(new CommandRequest(true, true, false, true, target));
    try (var client = WebSocketClient.with(url, "v5.channel.k8s.io")) {
      client.send(RESIZE, "{\"Width\":132,\"Height\":43}");
      assertThat(channels(client).get(ERROR))
          .contains("it is 132 wide", "\"reason\":\"InternalError\"", "\"code\":500");
    }
  }

  @Test
  void theFirstProtocolOfTheClientsOrderThatTheServerKnowsIsChosen() throws IOException {
    try (var client =
        new WebSocketClient(echo(), "v9.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io")) {
      assertThat(client.answer).contains("sec-websocket-protocol: v4.channel.k8s.io\r\n");
    }
    try (var client = new WebSocketClient(echo(), "v9.channel.k8s.io")) {
      assertThat(client.answer).startsWith("http/1.1 403 ");
    }
  }

  @Test
  void aClientThatClosesInterruptsTheTarget() throws Exception {
    CountDownLatch running = new CountDownLatch(1);
    CountDownLatch interrupted = new CountDownLatch(1);
    CommandTarget target =
        _ -> {
          running.countDown();
          try {
            new CountDownLatch(1).await();
            return new CommandResult.Exited(0);
          } catch (InterruptedException gone) {
            interrupted.countDown();
            throw gone;
          }
        };
    String url = server.exec(new CommandRequest(false, true, false, false, target));
    try (var client = WebSocketClient.with(url, "v5.channel.k8s.io")) {
      assertThat(running.await(60, TimeUnit.SECONDS)).isTrue();
      client.send(CLOSE, true, new byte[] {3, (byte) 0xe8}); // 1000, section 7.4.1
      assertThat(client.read().payload()).containsExactly(STDOUT);
      assertThat(client.read().opcode()).isEqualTo(CLOSE);
      assertThat(interrupted.await(60, TimeUnit.SECONDS)).isTrue();
    }
  }

  @Test
  void aSessionWithoutTrafficEndsDespitePings() throws IOException {
    CommandTarget silent =
        _ -> {
          new CountDownLatch(1).await();
          return new CommandResult.Exited(0);
        };
    try (var impatient =
        new StreamingServer(TestSettings.with(Duration.ofSeconds(1), Duration.ofSeconds(30)))) {
      String url = impatient.exec(new CommandRequest(false, true, false, false, silent));
      try (var client = WebSocketClient.with(url, "v5.channel.k8s.io")) {
        assertThat(client.read().payload()).containsExactly(STDOUT);
        WebSocketClient.Frame frame;
        do {
          client.send(PING, true, new byte[0]);
          frame = client.read();
        } while (frame.opcode() == PONG);
        assertThat(frame.text()).contains("the session ended after PT1S without traffic");
      }
    }
  }

  @Test
  void aClientThatDoesNotReadHoldsTheWriterUp() throws Exception {
    long mostInKernels = 16 << 20; // both ends' socket buffers, grown as far as Linux lets them
    AtomicLong written = new AtomicLong();
    CountDownLatch tooMuch = new CountDownLatch(1);
    CommandTarget endless =
        streams -> {
          byte[] block = new byte[16 << 10];
          try {
            while (true) {
              streams.stdout().orElseThrow().write(block);
              if (written.addAndGet(block.length) > mostInKernels) {
                tooMuch.countDown();
              }
            }
          } catch (IOException gone) {
            return new CommandResult.Failed("gone");
          }
        };
    String url = server.exec(new CommandRequest(false, true, false, false, endless));
    try (var client = WebSocketClient.with(url, "v4.base64.channel.k8s.io")) {
      client.read();
      assertThat(client.read().text()).startsWith("1AAAA");
      assertThat(tooMuch.await(2, TimeUnit.SECONDS)).isFalse();
      long stood = written.get();
      while (written.get() == stood) {
        client.read();
      }
    }
  }

  @Test
  void aTargetThatDoesNotReadHoldsTheClientUp() throws Exception {
    CountDownLatch mayRead = new CountDownLatch(1);
    long most = 32 << 20; // socket buffers, grown as far as Linux lets them, and the server's own
    CommandTarget target =
        streams -> {
          mayRead.await();
          try {
            streams.stdin().orElseThrow().readAllBytes();
          } catch (IOException gone) {
            return new CommandResult.Failed("gone");
          }
          return new CommandResult.Exited(0);
        };
    AtomicLong sent = new AtomicLong();
    String url = server.exec(new CommandRequest(true, true, false, false, target));
    try (var client = WebSocketClient.with(url, "v5.channel.k8s.io")) {
      Thread sender =
          Thread.ofPlatform()
              .start(() -> {
                byte[] message = onChannel(STDIN, new byte[32 << 10]);
                try {
                  while (sent.get() < 2 * most) {
                    client.send(BINARY, true, message);
                    sent.addAndGet(message.length);
                  }
                  client.send(BINARY, true, new byte[] {(byte) CLOSE_CHANNEL, STDIN});
                } catch (IOException closed) {
                  // the assertions say the rest
                }
              });
      sender.join(Duration.ofSeconds(3));
      assertThat(sent.get()).isLessThan(most);
      mayRead.countDown();
      assertThat(channels(client)).containsEntry(ERROR, SUCCESS);
      sender.join();
    }
  }
}
