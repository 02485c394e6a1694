package io.berth.streaming;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.Loopback;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(240)
class PortForwardTest {
  private static final String PROTOCOL = "portforward.k8s.io";
  private static final Duration CONNECT = Duration.ofSeconds(60);
  private static final PortForwardTarget HERE =
      port -> Loopback.connect(Optional.empty(), port, CONNECT);

  private final StreamingServer server = new StreamingServer(TestSettings.ordinary());
  private ServerSocket pod;

  @BeforeEach
  void listen() throws IOException {
    pod = new ServerSocket(0, 600, InetAddress.getLoopbackAddress());
    pod.setSoTimeout(60_000);
  }

  @AfterEach
  void stop() throws IOException {
    server.close();
    pod.close();
  }

  private record Pair(int error, int data) {}

  private SpdyClient connect(StreamingServer to) throws IOException {
    return new SpdyClient(to.portForward(new PortForwardRequest(List.of(), HERE)), PROTOCOL);
  }

  /** As Kubernetes' clients do it: the error stream first, and half-closed at once. */
  private static Pair open(SpdyClient client, int port, int request) throws IOException {
    String[] common = {"port", String.valueOf(port), "requestID", String.valueOf(request)};
    int error = client.open("streamType", "error", common[0], common[1], common[2], common[3]);
    client.end(error);
    int data = client.open("streamType", "data", common[0], common[1], common[2], common[3]);
    return new Pair(error, data);
  }

  private Pair open(SpdyClient client, int request) throws IOException {
    return open(client, pod.getLocalPort(), request);
  }

  private Socket accept() throws IOException {
    Socket accepted = pod.accept();
    accepted.setSoTimeout(60_000);
    return accepted;
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static String readAll(Socket socket) throws IOException {
    return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
  }

  @Test
  void thePodAnswersAfterTheClientHasSaidItsLastWord() throws IOException {
    try (var client = connect(server)) {
      Pair pair = open(client, 0);
      client.send(pair.data, "question");
      client.end(pair.data);
      try (Socket inPod = accept()) {
        assertThat(readAll(inPod)).isEqualTo("question");
        inPod.getOutputStream().write(bytes("answer"));
      }
      client.readToEnd(pair.data);
      client.readToEnd(pair.error);
      assertThat(client.text(pair.data)).isEqualTo("answer");
      assertThat(client.text(pair.error)).isEmpty();
      assertThat(client.reset).isEmpty();
    }
  }

  @Test
  void theClientMayFinishWhatItSaysAfterThePodsLastWord() throws IOException {
    try (var client = connect(server)) {
      Pair pair = open(client, 0);
      try (Socket inPod = accept()) {
        inPod.getOutputStream().write(bytes("bye"));
        inPod.shutdownOutput();
        client.readToEnd(pair.data);
        assertThat(client.text(pair.data)).isEqualTo("bye");
        client.send(pair.data, "and ");
        client.send(pair.data, "thanks");
        client.end(pair.data);
        assertThat(readAll(inPod)).isEqualTo("and thanks");
      }
      client.readToEnd(pair.error);
      assertThat(client.text(pair.error)).isEmpty();
    }
  }

  @Test
  void aClientThatDoesNotHangUpAfterThePodHasIsCutOffWithoutWords() throws IOException {
    try (var client = connect(server)) {
      Pair pair = open(client, 0);
      try (Socket inPod = accept()) {
        inPod.shutdownOutput();
        client.readUntil(() -> client.reset.contains(pair.data));
        assertThat(readAll(inPod)).isEmpty();
      }
      assertThat(client.text(pair.error)).isEmpty();
    }
  }

  @Test
  void whatCannotBeReachedIsSaidOnItsErrorStreamAndTheSessionGoesOn() throws IOException {
    int closedPort;
    try (var gone = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      closedPort = gone.getLocalPort();
    }
    try (var client = connect(server)) {
      Pair refused = open(client, closedPort, 0);
      client.readToEnd(refused.error);
      assertThat(client.text(refused.error))
          .contains("connect to 127.0.0.1:" + closedPort)
          .contains("ECONNREFUSED");
      client.readUntil(() -> client.reset.contains(refused.data));
      assertWorks(client, 1);
    }
  }

  private void assertWorks(SpdyClient client, int request) throws IOException {
    Pair pair = open(client, request);
    try (Socket inPod = accept()) {
      inPod.getOutputStream().write(bytes("fine"));
      client.end(pair.data);
      assertThat(readAll(inPod)).isEmpty();
    }
    client.readToEnd(pair.data);
    assertThat(client.text(pair.data)).isEqualTo("fine");
  }

  @Test
  void ofFiftyConnectionsOneIsResetByThePodAndOneByTheClientAndTheOthersFinish()
      throws IOException {
    byte[] block = new byte[100_000];
    try (var client = connect(server)) {
      List<Pair> pairs = new ArrayList<>();
      List<Socket> inPod = new ArrayList<>();
      try {
        for (int i = 0; i < 50; i++) {
          pairs.add(open(client, i));
          inPod.add(accept());
          inPod.get(i).getOutputStream().write(block);
        }
        inPod.get(7).setSoLinger(true, 0);
        inPod.get(7).close();
        client.reset(pairs.get(8).data);
        for (int i = 0; i < 50; i++) {
          if (i != 7 && i != 8) {
            Pair pair = pairs.get(i);
            inPod.get(i).getOutputStream().write(block);
            client.end(pair.data);
            assertThat(readAll(inPod.get(i))).isEmpty();
            inPod.get(i).close();
            client.readToEnd(pair.data);
            assertThat(client.size(pair.data)).isEqualTo(2 * block.length);
          }
        }
      } finally {
        for (Socket socket : inPod) {
          socket.close();
        }
      }
      for (Pair pair : pairs) {
        client.readToEnd(pair.error);
        // Kubernetes' client gives the whole session up at the first word on any error stream.
        assertThat(client.text(pair.error)).isEmpty();
      }
      assertThat(client.reset).containsExactly(pairs.get(7).data);
    }
  }

  @Test
  void hundredsOfConnectionsAreOpenAtTheSameTime() throws IOException {
    int many = 300;
    try (var client = connect(server)) {
      List<Pair> pairs = new ArrayList<>();
      List<Socket> inPod = new ArrayList<>();
      try {
        for (int i = 0; i < many; i++) {
          Pair pair = open(client, i);
          pairs.add(pair);
          client.send(pair.data, "connection " + i);
          client.end(pair.data);
          inPod.add(accept());
        }
        for (Socket socket : inPod) {
          socket.getOutputStream().write(bytes(readAll(socket)));
          socket.close();
        }
      } finally {
        for (Socket socket : inPod) {
          socket.close();
        }
      }
      for (int i = 0; i < many; i++) {
        client.readToEnd(pairs.get(i).data);
        assertThat(client.text(pairs.get(i).data)).isEqualTo("connection " + i);
      }
    }
  }

  @Test
  void clientsThatDoNotNumberTheirRequestsOpenBothStreamsInARow() throws IOException {
    String port = String.valueOf(pod.getLocalPort());
    try (var client = connect(server)) {
      client.open("streamType", "error", "port", port);
      int data = client.open("streamType", "data", "port", port);
      try (Socket inPod = accept()) {
        inPod.getOutputStream().write(bytes("old"));
      }
      client.readToEnd(data);
      assertThat(client.text(data)).isEqualTo("old");
    }
  }

  @Test
  void halfAPairIsGivenUpAfterAWhileAndTheSessionGoesOn() throws IOException {
    try (var impatient =
            new StreamingServer(TestSettings.with(Duration.ofHours(4), Duration.ofMillis(300)));
        var client = connect(impatient)) {
      String port = String.valueOf(pod.getLocalPort());
      int error = client.open("streamType", "error", "port", port, "requestID", "5");
      int data = client.open("streamType", "data", "port", port, "requestID", "6");
      client.readToEnd(error);
      assertThat(client.text(error))
          .isEqualTo(
              "forward a connection: the data stream of request 5 didn't come within PT0.3S");
      client.readUntil(() -> client.reset.contains(data));
      assertWorks(client, 7);
    }
  }

  @Test
  void streamsThatMakeNoSenseAreRefused() throws IOException {
    String port = String.valueOf(pod.getLocalPort());
    try (var client = connect(server)) {
      int noPort = client.open("streamType", "data", "requestID", "0");
      int tooBig = client.open("streamType", "data", "port", "65536", "requestID", "0");
      int unknown = client.open("streamType", "stdin", "port", port, "requestID", "0");
      client.open("streamType", "error", "port", port, "requestID", "1");
      int twice = client.open("streamType", "error", "port", port, "requestID", "1");
      client.readUntil(() -> client.reset.contains(twice));
      assertThat(client.reset).containsExactlyInAnyOrder(noPort, tooBig, unknown, twice);
      assertWorks(client, 2);
    }
  }

  @Test
  void aClientThatDoesNotReadHoldsThePodUp() throws Exception {
    long mostInKernels = 32 << 20; // four socket buffers, grown as far as Linux lets them
    try (var client = connect(server)) {
      Pair pair = open(client, 0);
      AtomicLong written = new AtomicLong();
      try (Socket inPod = accept()) {
        Thread endless =
            Thread.ofPlatform()
                .start(() -> {
                  byte[] block = new byte[16 << 10];
                  try {
                    while (written.get() < 2 * mostInKernels) {
                      inPod.getOutputStream().write(block);
                      written.addAndGet(block.length);
                    }
                  } catch (IOException closed) {
                    // as the test closes the socket
                  }
                });
        client.readUntil(() -> client.size(pair.data) > 0);
        endless.join(Duration.ofSeconds(3));
        assertThat(written.get()).isLessThan(mostInKernels);
        long stood = written.get();
        client.readUntil(() -> written.get() > stood);
      }
    }
  }

  @Test
  void aSessionWithoutTrafficEndsDespitePings() throws IOException {
    try (var impatient =
            new StreamingServer(TestSettings.with(Duration.ofSeconds(1), Duration.ofSeconds(30)));
        var client = connect(impatient)) {
      Pair pair = open(client, 0);
      try (Socket inPod = accept()) {
        for (int id = 1; !client.reset.contains(pair.data) && client.pingAndRead(id); id += 2) {
          // The pongs keep this loop going, and would keep it going for ever.
        }
        assertThat(readAll(inPod)).isEmpty();
      }
    }
  }

  @Test
  void aClientThatVanishesTakesItsConnectionsAlong() throws IOException {
    Socket inPod;
    try (var client = connect(server)) {
      client.send(open(client, 0).data, "hello");
      inPod = accept();
      assertThat(inPod.getInputStream().readNBytes(5)).asString().isEqualTo("hello");
    }
    try (inPod) {
      assertThat(readAll(inPod)).isEmpty();
    }
  }
}
