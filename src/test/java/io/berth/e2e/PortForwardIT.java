package io.berth.e2e;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PortForwardRequest;
import io.berth.linux.Namespaces;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Port-forwards by crictl and by Kubernetes' own client library, to both ends of each connection.
 */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@TestMethodOrder(MethodOrderer.Random.class)
class PortForwardIT {
  private static final int PORT = 8080;
  private static final int PAGE_MIB = 50;
  private static final int PATIENCE_MILLIS = 60_000;

  /** As crictl and the client library print it. */
  private static final Pattern LISTENING =
      Pattern.compile("Forwarding from 127\\.0\\.0\\.1:(\\d+) -> \\d+|(\\d+) \\d+");

  private final BerthDaemon daemon;
  private final Crictl crictl;

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  PortForwardIT(DockerRegistry registry) throws Exception {
    daemon = BerthDaemon.with().registry(registry.address()).start();
    crictl = daemon.crictl();
  }

  @BeforeEach
  void imageIsThere() throws Exception {
    crictl.run("pull", Requests.BUSYBOX);
  }

  @AfterEach
  void nothingIsLeft() throws Exception {
    daemon.removePods();
    daemon.assertNothingLeft();
  }

  @AfterAll
  void end() throws Exception {
    daemon.close();
  }

  /** A client in a process of its own that listens on this machine for one port of a pod. */
  private static final class Forward implements AutoCloseable {
    private final Process client;
    private final Path errors;
    final int port;

    Forward(BerthDaemon daemon, List<String> command) throws IOException {
      errors = Files.createTempFile(daemon.folder(), "forward-", ".err");
      client = new ProcessBuilder(command).redirectError(errors.toFile()).start();
      BufferedReader lines = client.inputReader();
      String line = lines.readLine();
      Matcher match = LISTENING.matcher(String.valueOf(line));
      if (!match.matches()) {
        client.destroyForcibly();
        throw new AssertionError(command + " says " + line + " and " + errors());
      }
      port = Integer.parseInt(match.group(1) == null ? match.group(2) : match.group(1));
    }

    Socket connect() throws IOException {
      Socket socket = new Socket(InetAddress.getLoopbackAddress(), port);
      socket.setSoTimeout(PATIENCE_MILLIS);
      return socket;
    }

    String errors() throws IOException {
      return Files.readString(errors);
    }

    boolean endsSoon() throws InterruptedException {
      return client.waitFor(PATIENCE_MILLIS, TimeUnit.MILLISECONDS);
    }

    @Override
    public void close() {
      client.destroyForcibly();
    }
  }

  private Forward kubernetesClient(String transport, String podId) throws IOException {
    return kubernetesClient(daemon, transport, podId);
  }

  private static Forward kubernetesClient(BerthDaemon node, String transport, String podId)
      throws IOException {
    return new Forward(
        node,
        List.of(
            TestTools.built("kubeclient").toString(),
            "portforward",
            "-url",
            url(node, podId),
            "-transport",
            transport,
            String.valueOf(PORT)));
  }

  private static String url(BerthDaemon node, String podId) {
    return node.client()
        .runtime()
        .portForward(PortForwardRequest.newBuilder().setPodSandboxId(podId).build())
        .getUrl();
  }

  /** A server of this test that listens where the pod's containers would. */
  private ServerSocket listenInPod(String podId, String address) throws IOException {
    Path pin;
    try (Stream<Path> files = Files.walk(daemon.runFolder())) {
      pin =
          files
              .filter(file -> file.toString().contains(podId) && file.endsWith("net"))
              .findFirst()
              .orElseThrow();
    }
    return Namespaces.inside(
        pin, () -> patient(new ServerSocket(PORT, 100, InetAddress.getByName(address))));
  }

  private static ServerSocket patient(ServerSocket server) throws SocketException {
    server.setSoTimeout(PATIENCE_MILLIS);
    return server;
  }

  private static Socket accept(ServerSocket server) throws IOException {
    Socket socket = server.accept();
    socket.setSoTimeout(PATIENCE_MILLIS);
    return socket;
  }

  private static void assertCarries(Forward forward, ServerSocket inPod) throws IOException {
    try (Socket client = forward.connect();
        Socket pod = accept(inPod)) {
      client.getOutputStream().write("question".getBytes(UTF_8));
      client.shutdownOutput();
      assertThat(pod.getInputStream().readAllBytes()).asString().isEqualTo("question");
      pod.getOutputStream().write("answer".getBytes(UTF_8));
      pod.shutdownOutput();
      assertThat(client.getInputStream().readAllBytes()).asString().isEqualTo("answer");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"spdy", "websocket"})
  void crictlForwardsALargePageWhole(String transport) throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "web-" + transport);
    String podId = crictl.runPod(pod);
    String page = "mkdir -p /www && dd if=/dev/urandom of=/www/page bs=1M count=" + PAGE_MIB;
    String container =
        crictl.start(
            podId,
            Requests.container(
                "web",
                Requests.BUSYBOX,
                List.of("sh", "-c", page + " && exec httpd -f -p " + PORT + " -h /www")),
            pod);
    var command =
        new ArrayList<>(crictl.command("port-forward", "-r", transport, podId, "0:" + PORT));
    Await.until(
        "the page is being served",
        Duration.ofMinutes(1),
        () ->
            crictl
                .attempt(
                    "exec", "-s", container, "wget", "-q", "-O", "/dev/null", "localhost:8080/page")
                .ok());
    try (var forward = new Forward(daemon, command)) {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      URI address = URI.create("http://127.0.0.1:" + forward.port + "/page");
      try (InputStream body = new DigestInputStream(address.toURL().openStream(), digest)) {
        assertThat(body.transferTo(java.io.OutputStream.nullOutputStream()))
            .isEqualTo((long) PAGE_MIB << 20);
      }
      assertThat(crictl.run("exec", "-s", container, "sha256sum", "/www/page"))
          .startsWith(HexFormat.of().formatHex(digest.digest()));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"spdy", "websocket"})
  void ofFiftyConnectionsOneIsResetAndTheOthersFinish(String transport) throws Exception {
    int many = 50;
    int unlucky = 17;
    byte[] block = new byte[256 << 10];
    String podId = crictl.runPod(Requests.pod(daemon, "fifty-" + transport));
    try (ServerSocket server = listenInPod(podId, "127.0.0.1");
        var forward = kubernetesClient(transport, podId)) {
      List<Socket> clients = new ArrayList<>();
      List<Socket> inPod = new ArrayList<>();
      try {
        for (int i = 0; i < many; i++) {
          clients.add(forward.connect());
          inPod.add(accept(server));
          inPod.get(i).getOutputStream().write(i);
        }
        inPod.get(unlucky).setSoLinger(true, 0);
        inPod.get(unlucky).close();
        for (int i = 0; i < many; i++) {
          if (i != unlucky) {
            clients.get(i).getOutputStream().write(block);
            clients.get(i).shutdownOutput();
            assertThat(inPod.get(i).getInputStream().readAllBytes()).hasSameSizeAs(block);
            inPod.get(i).getOutputStream().write(block, 0, 1000);
            inPod.get(i).close();
            byte[] received = clients.get(i).getInputStream().readAllBytes();
            assertThat(received).hasSize(1001);
            assertThat(received[0]).isEqualTo((byte) i);
          }
        }
      } finally {
        for (Socket socket : Stream.concat(clients.stream(), inPod.stream()).toList()) {
          socket.close();
        }
      }
      assertCarries(forward, server);
    }
  }

  @Test
  void aServerWithIpv6AloneIsFound() throws Exception {
    String podId = crictl.runPod(Requests.pod(daemon, "ipv6"));
    try (ServerSocket server = listenInPod(podId, "::1");
        var forward = kubernetesClient("spdy", podId)) {
      assertCarries(forward, server);
    }
  }

  @Test
  void aPodInTheMachinesNetworkIsReachedThere() throws Exception {
    PodSandboxConfig.Builder pod =
        Requests.pod(
            daemon,
            "host-network",
            Requests.ORDINARY.toBuilder().setNetwork(NamespaceMode.NODE).build());
    String podId = crictl.runPod(pod);
    try (ServerSocket server = patient(new ServerSocket(0, 5, InetAddress.getLoopbackAddress()));
        var forward =
            new Forward(
                daemon, crictl.command("port-forward", podId, "0:" + server.getLocalPort()))) {
      assertCarries(forward, server);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"spdy", "websocket"})
  void theClientIsToldWhatCannotBeReached(String transport) throws Exception {
    String podId = crictl.runPod(Requests.pod(daemon, "closed-" + transport));
    try (var forward = kubernetesClient(transport, podId)) {
      try (Socket client = forward.connect()) {
        assertThat(client.getInputStream().read()).isEqualTo(-1);
      }
      Await.until(
          "the client says why",
          Duration.ofMillis(PATIENCE_MILLIS),
          () -> forward.errors().contains("connect to 127.0.0.1:" + PORT));
    }
  }

  @Test
  void aStoppedPodIsRefusedAtOnceAndInTheMidstOfASession() throws Exception {
    String podId = crictl.runPod(Requests.pod(daemon, "stopped"));
    try (var forward = kubernetesClient("spdy", podId)) {
      crictl.run("stopp", podId);
      try (Socket client = forward.connect()) {
        assertThat(client.getInputStream().read()).isEqualTo(-1);
      }
      Await.until(
          "the client says why",
          Duration.ofMillis(PATIENCE_MILLIS),
          () -> forward.errors().contains("only running pods have ports"));
    }
    var refusal = catchThrowableOfType(StatusRuntimeException.class, () -> url(daemon, podId));
    assertThat(refusal.getStatus().getCode()).isEqualTo(Status.Code.FAILED_PRECONDITION);
  }

  @ParameterizedTest
  @ValueSource(strings = {"spdy", "websocket"})
  void anIdleSessionEndsAlthoughTheClientPings(String transport) throws Exception {
    // Kubernetes' client pings every five seconds.
    try (var impatient =
        BerthDaemon.with().config("[streaming]\nidle_timeout = \"7s\"\n").start()) {
      String podId = impatient.crictl().runPod(Requests.pod(impatient, "idle"));
      try (var forward = kubernetesClient(impatient, transport, podId)) {
        assertThat(forward.endsSoon()).isTrue();
        assertThat(forward.errors()).contains("lost connection to pod");
      }
    }
  }
}
