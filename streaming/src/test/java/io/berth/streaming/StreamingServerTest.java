package io.berth.streaming;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** URLs, their tokens, and what is answered before any stream exists. */
@Timeout(240)
class StreamingServerTest {
  private static final String SPDY = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n";
  private static final String V4 = "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n";
  private static final CommandTarget DONE = _ -> new CommandResult.Exited(0);

  private static final PortForwardTarget NOWHERE =
      _ -> {
        throw new IOException("nowhere");
      };

  private final StreamingServer server = new StreamingServer(TestSettings.ordinary());

  @AfterEach
  void stop() {
    server.close();
  }

  private static CommandRequest command() {
    return new CommandRequest(false, true, false, false, DONE);
  }

  private static String request(String url, String method, String headers) throws IOException {
    try (var http = new HttpClientSocket(URI.create(url))) {
      return http.request(method, headers);
    }
  }

  @Test
  void aUrlHoldsItsKindAndATokenOfEightCharacters() {
    Set<String> urls = new HashSet<>();
    for (int i = 0; i < 300; i++) {
      urls.add(server.exec(command()));
    }
    assertThat(urls)
        .hasSize(300)
        .allMatch(url -> url.matches("http://127\\.0\\.0\\.1:\\d+/exec/[A-Za-z0-9_-]{8}"));
    assertThat(server.attach(command())).contains("/attach/");
    assertThat(server.portForward(new PortForwardRequest(List.of(), NOWHERE)))
        .contains("/portforward/");
  }

  @ParameterizedTest
  @ValueSource(strings = {"GET", "POST"})
  void aUrlIsGoodOnce(String method) throws IOException {
    String url = server.exec(command());
    assertThat(request(url, method, SPDY + V4))
        .startsWith("HTTP/1.1 101 ")
        .containsIgnoringCase("x-stream-protocol-version: v4.channel.k8s.io\r\n")
        .containsIgnoringCase("upgrade: SPDY/3.1\r\n");
    assertThat(request(url, method, SPDY + V4)).startsWith("HTTP/1.1 404 ");
  }

  @Test
  void aTokenIsSpentByAFailureAndOpensItsOwnKindAlone() throws IOException {
    String url = server.exec(command());
    assertThat(request(url, "GET", "")).startsWith("HTTP/1.1 400 ");
    assertThat(request(url, "GET", SPDY + V4)).startsWith("HTTP/1.1 404 ");
    String attach = server.attach(command());
    assertThat(request(attach.replace("/attach/", "/exec/"), "GET", SPDY + V4))
        .startsWith("HTTP/1.1 404 ");
  }

  @ParameterizedTest
  @CsvSource({"'', 400", "X-Stream-Protocol-Version: v9.channel.k8s.io, 403"})
  void aClientWithoutACommonProtocolIsToldTheServers(String header, int code) throws IOException {
    String headers = SPDY + (header.isEmpty() ? "" : header + "\r\n");
    String answer = request(server.exec(command()), "POST", headers);
    assertThat(answer).startsWith("HTTP/1.1 " + code + " ");
    if (code == 403) {
      for (String known : List.of("v4.channel", "v3.channel", "v2.channel", "channel")) {
        assertThat(answer)
            .containsIgnoringCase("x-accepted-stream-protocol-versions: " + known + ".k8s.io\r\n");
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {", ", "\r\nX-Stream-Protocol-Version: "})
  void theClientsOrderDecidesAmongTheProtocolsOfOneHeaderOrSeveral(String separator)
      throws IOException {
    String offered =
        String.join(separator, "v9.channel.k8s.io", "v3.channel.k8s.io", "v4.channel.k8s.io");
    String headers = SPDY + "X-Stream-Protocol-Version: " + offered + "\r\n";
    assertThat(request(server.exec(command()), "POST", headers))
        .startsWith("HTTP/1.1 101 ")
        .containsIgnoringCase("x-stream-protocol-version: v3.channel.k8s.io\r\n");
  }

  @Test
  void whatIsNoUpgradeIsRefused() throws IOException {
    assertThat(request(server.exec(command()), "PUT", SPDY + V4)).startsWith("HTTP/1.1 405 ");
    assertThat(request(server.exec(command()), "GET", "Upgrade: SPDY/3.1\r\n" + V4))
        .startsWith("HTTP/1.1 400 ");
    assertThat(request(server.exec(command()), "GET", "Connection: Upgrade\r\nUpgrade: h2c\r\n"))
        .startsWith("HTTP/1.1 400 ");
  }

  @Test
  void tokensExpireAndThereIsACapOnThoseThatWait() {
    AtomicLong now = new AtomicLong(Long.MAX_VALUE - 5); // System.nanoTime may well overflow
    Tokens<String> tokens = new Tokens<>(Duration.ofNanos(100), 3, now::get);
    String first = tokens.issue("first");
    now.addAndGet(50);
    String second = tokens.issue("second");
    tokens.issue("third");
    assertThat(
            catchThrowableOfType(StreamingException.class, () -> tokens.issue("fourth")).reason())
        .isEqualTo(StreamingException.Reason.TOO_MANY);
    now.addAndGet(50);
    assertThat(tokens.redeem(first)).isEmpty();
    assertThat(tokens.redeem(second)).contains("second");
    assertThat(tokens.redeem(second)).isEmpty();
    // An expired token and a used one have made room for two.
    tokens.issue("fourth");
    tokens.issue("fifth");
    assertThat(catchThrowableOfType(StreamingException.class, () -> tokens.issue("sixth")))
        .hasMessageContaining("3 earlier ones still wait");
  }

  @Test
  void requestsThatNobodyCanFulfilAreRefused() {
    assertThat(List.of(0, 65536, -1))
        .allSatisfy(port ->
            assertThat(
                    catchThrowableOfType(
                            StreamingException.class,
                            () -> new PortForwardRequest(List.of(80, port), NOWHERE))
                        .reason())
                .isEqualTo(StreamingException.Reason.INVALID));
    assertThat(
            catchThrowableOfType(
                StreamingException.class,
                () -> new CommandRequest(false, false, false, true, DONE)))
        .hasMessageContaining("none of stdin, stdout and stderr");
    assertThat(
            catchThrowableOfType(
                StreamingException.class, () -> new CommandRequest(true, true, true, true, DONE)))
        .hasMessageContaining("ask for tty or stderr, not both");
  }

  @Test
  void anAddressThatIsTakenIsSaidAtOnce() throws IOException {
    try (var taken = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        var late =
            new StreamingServer(
                TestSettings.at(
                    new InetSocketAddress(InetAddress.getLoopbackAddress(), taken.getLocalPort()),
                    Optional.empty()))) {
      assertThat(catchThrowableOfType(StreamingException.class, late::listen))
          .hasMessageContaining("correct streaming.address")
          .extracting(StreamingException::reason)
          .isEqualTo(StreamingException.Reason.UNAVAILABLE);
    }
  }

  @Test
  void nothingListensBeforeTheFirstUrlAndNothingAfterTheEnd() throws Exception {
    CountDownLatch interrupted = new CountDownLatch(1);
    String url =
        server.exec(
            new CommandRequest(
                false,
                true,
                false,
                false,
                _ -> {
                  try {
                    new CountDownLatch(1).await();
                    return new CommandResult.Exited(0);
                  } catch (InterruptedException stopped) {
                    interrupted.countDown();
                    throw stopped;
                  }
                }));
    try (var client = new SpdyClient(url, "v4.channel.k8s.io")) {
      client.open("streamType", "error");
      int stdout = client.open("streamType", "stdout");
      client.readUntil(() -> client.replied.contains(stdout));
      server.close();
      assertThat(interrupted.await(60, TimeUnit.SECONDS)).isTrue();
    }
    assertThat(
            catchThrowableOfType(
                IOException.class,
                () -> {
                  try (var late =
                      new Socket(InetAddress.getLoopbackAddress(), URI.create(url).getPort())) {
                    throw new AssertionError("something listens at " + late);
                  }
                }))
        .isNotNull();
    assertThat(catchThrowableOfType(StreamingException.class, () -> server.exec(command())))
        .hasMessageContaining("the server is stopping");
  }
}
