package io.berth.streaming;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@Timeout(120)
class SpdyCommandTest {
  private static final String SUCCESS = "{\"status\":\"Success\"}";

  private final StreamingServer server = new StreamingServer(TestSettings.ordinary());

  @AfterEach
  void stop() {
    server.close();
  }

  private static final CommandTarget ECHO =
      streams -> {
        try {
          streams.stdin().orElseThrow().transferTo(streams.stdout().orElseThrow());
          streams.stderr().orElseThrow().write("done".getBytes(StandardCharsets.UTF_8));
          return new CommandResult.Exited(0);
        } catch (IOException failure) {
          return new CommandResult.Failed(String.valueOf(failure.getMessage()));
        }
      };

  @ParameterizedTest
  @CsvSource({
    "v4.channel.k8s.io, " + SUCCESS,
    "v3.channel.k8s.io, ''",
    "v2.channel.k8s.io, ''",
    "channel.k8s.io, ''"
  })
  void whatIsSentComesBackAndTheResultAfterIt(String protocol, String status) throws IOException {
    String url = server.exec(new CommandRequest(true, true, true, false, ECHO));
    try (var client = new SpdyClient(url, protocol)) {
      int error = client.open("streamType", "error");
      int stdin = client.open("streamType", "stdin");
      int stdout = client.open("streamType", "stdout");
      int stderr = client.open("streamType", "stderr");
      client.send(stdin, "hello ");
      client.send(stdin, "world");
      client.end(stdin);
      client.readToEnd(error);
      assertThat(client.text(stdout)).isEqualTo("hello world");
      assertThat(client.text(stderr)).isEqualTo("done");
      assertThat(client.ended).contains(stdout, stderr);
      assertThat(client.replied).contains(error, stdin, stdout, stderr);
      assertThat(client.text(error)).isEqualTo(status);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "v4.channel.k8s.io|{\"status\":\"Failure\",\"reason\":\"NonZeroExitCode\",\"message\":"
            + "\"command terminated with non-zero exit code: 7\",\"details\":{\"causes\":"
            + "[{\"reason\":\"ExitCode\",\"message\":\"7\"}]}}",
        "v3.channel.k8s.io|command terminated with non-zero exit code: 7"
      })
  void anExitCodeIsToldInTheProtocolsForm(String protocol, String status) throws IOException {
    String url =
        server.exec(
            new CommandRequest(false, true, false, false, _ -> new CommandResult.Exited(7)));
    try (var client = new SpdyClient(url, protocol)) {
      client.open("streamType", "stdout");
      int error = client.open("streamType", "error");
      client.readToEnd(error);
      assertThat(client.text(error)).isEqualTo(status);
    }
  }

  @Test
  void theTargetBeginsWhenTheLastStreamIsOpenWhateverTheOrder() throws Exception {
    List<TerminalSize> sizes = new CopyOnWriteArrayList<>();
    CountDownLatch first = new CountDownLatch(1);
    CountDownLatch told = new CountDownLatch(2);
    CommandTarget target =
        streams -> {
          streams.onResize(size -> {
            sizes.add(size);
            first.countDown();
            told.countDown();
          });
          return new CommandResult.Exited(told.await(60, TimeUnit.SECONDS) ? 0 : 1);
        };
    String url = server.attach(new CommandRequest(false, true, false, true, target));
    try (var client = new SpdyClient(url, "v4.channel.k8s.io")) {
      int resize = client.open("streamType", "resize");
      // Several in a row before anybody listens: the latest is what counts.
      client.send(resize, "{\"Width\":1,\"Height\":1}{\"Width\":80,\"Hei");
      client.send(resize, "ght\":24}{\"Width\":0,\"Height\":9}");
      client.open("streamType", "stdout");
      int error = client.open("streamType", "error");
      assertThat(first.await(60, TimeUnit.SECONDS)).isTrue();
      client.send(resize, "{\"Width\":132,\"Height\":43}");
      client.readToEnd(error);
      assertThat(client.text(error)).isEqualTo(SUCCESS);
    }
    assertThat(sizes).containsExactly(new TerminalSize(80, 24), new TerminalSize(132, 43));
  }

  @Test
  void aClientThatVanishesInterruptsTheTarget() throws Exception {
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
    try (var client = new SpdyClient(url, "v4.channel.k8s.io")) {
      client.open("streamType", "error");
      client.open("streamType", "stdout");
      assertThat(running.await(60, TimeUnit.SECONDS)).isTrue();
    }
    assertThat(interrupted.await(60, TimeUnit.SECONDS)).isTrue();
  }

  @Test
  void aClientThatDoesNotReadHoldsTheWriterUpWithinAMebibyte() throws Exception {
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
    try (var client = new SpdyClient(url, "v4.channel.k8s.io")) {
      client.open("streamType", "error");
      int stdout = client.open("streamType", "stdout");
      client.readUntil(() -> client.text(stdout).length() > 0);
      assertThat(tooMuch.await(2, TimeUnit.SECONDS)).isFalse();
      // It moves on as soon as the client does.
      long stood = written.get();
      client.readUntil(() -> written.get() > stood);
    }
  }

  @Test
  void aClientThatKeepsWindowsIsSentNoMoreThanItAllows() throws Exception {
    byte[] much = new byte[300 << 10];
    CommandTarget target =
        streams -> {
          try {
            streams.stdin().orElseThrow().read();
            streams.stdout().orElseThrow().write(much);
            return new CommandResult.Exited(0);
          } catch (IOException gone) {
            return new CommandResult.Failed("gone");
          }
        };
    String url = server.exec(new CommandRequest(true, true, false, false, target));
    try (var client = new SpdyClient(url, "v4.channel.k8s.io")) {
      int error = client.open("streamType", "error");
      int stdin = client.open("streamType", "stdin");
      int stdout = client.open("streamType", "stdout");
      // A window of 100,000 for the session and 65,536 for the stream.
      client.window(0, 100_000 - SpdySession.INITIAL_WINDOW);
      client.send(stdin, "x");
      client.readUntil(() -> client.size(stdout) >= SpdySession.INITIAL_WINDOW);
      client.window(stdout, 1 << 20);
      client.readUntil(() -> client.size(stdout) >= 100_000);
      client.ping(77);
      client.readUntil(() -> client.pongs.contains(77));
      assertThat(client.size(stdout)).isEqualTo(100_000);
      client.window(0, 1 << 20);
      client.readToEnd(error);
      assertThat(client.size(stdout)).isEqualTo(much.length);
    }
  }

  @Test
  void creditIsGivenBackAsTheTargetReadsAndNotBefore() throws Exception {
    CountDownLatch mayRead = new CountDownLatch(1);
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
    String url = server.exec(new CommandRequest(true, false, false, false, target));
    try (var client = new SpdyClient(url, "v4.channel.k8s.io")) {
      int error = client.open("streamType", "error");
      int stdin = client.open("streamType", "stdin");
      client.send(stdin, new byte[64 << 10], false);
      client.ping(1);
      client.readUntil(() -> client.pongs.contains(1));
      assertThat(client.credit).isEmpty();
      mayRead.countDown();
      client.readUntil(() -> client.credit.getOrDefault(stdin, 0) >= 32 << 10);
      client.end(stdin);
      client.readToEnd(error);
      assertThat(client.credit.get(0)).isEqualTo(64 << 10);
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
      try (var client = new SpdyClient(url, "v4.channel.k8s.io")) {
        int error = client.open("streamType", "error");
        client.open("streamType", "stdout");
        for (int id = 1; !client.ended.contains(error); id += 2) {
          client.ping(id);
          client.readSome();
        }
        assertThat(client.text(error))
            .contains("the session ended after PT1S without traffic")
            .contains("InternalError");
      }
    }
  }

  @Test
  void streamsThatDoNotComeInTimeAreToldOnTheErrorStream() throws IOException {
    try (var impatient =
        new StreamingServer(TestSettings.with(Duration.ofHours(4), Duration.ofMillis(300)))) {
      String url = impatient.exec(new CommandRequest(true, true, false, false, ECHO));
      try (var client = new SpdyClient(url, "v4.channel.k8s.io")) {
        int error = client.open("streamType", "error");
        client.readToEnd(error);
        assertThat(client.text(error)).contains("only [error] of 3 came within PT0.3S");
      }
    }
  }

  @Test
  void aStreamThatWasNotAskedForIsRefusedAndTheOthersGoOn() throws IOException {
    String url =
        server.exec(
            new CommandRequest(false, true, false, false, _ -> new CommandResult.Exited(0)));
    try (var client = new SpdyClient(url, "v4.channel.k8s.io")) {
      int stderr = client.open("streamType", "stderr");
      int error = client.open("streamType", "error");
      client.open("streamType", "stdout");
      client.readToEnd(error);
      assertThat(client.reset).containsExactly(stderr);
      assertThat(client.text(error)).isEqualTo(SUCCESS);
    }
  }
}
