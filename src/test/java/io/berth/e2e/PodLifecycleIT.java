package io.berth.e2e;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.DNSConfig;
import io.berth.cri.v1.LinuxContainerResources;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.NamespaceOption;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PortMapping;
import io.berth.cri.v1.Protocol;
import io.berth.cri.v1.Signal;
import java.io.IOException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.SocketTimeoutException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.extension.ExtendWith;

/** What an administrator does with pods by crictl, and what a pod finds around itself. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@TestMethodOrder(MethodOrderer.Random.class)
class PodLifecycleIT {
  private static final Duration SOON = Duration.ofSeconds(20);
  private static final List<String> WEB_SERVER =
      List.of(
          "sh",
          "-c",
          "mkdir -p /www && echo served > /www/index.html && exec httpd -f -p 8080 -h /www");

  private final BerthDaemon daemon;
  private final Crictl crictl;

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  PodLifecycleIT(DockerRegistry registry) throws Exception {
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

  @Test
  void podLivesFromPullToPrune() throws Exception {
    assertThat(crictl.run("info")).contains("RuntimeReady", "NetworkReady");
    assertThat(crictl.json("info").at("/status/conditions"))
        .hasSize(2)
        .allMatch(condition -> condition.get("status").booleanValue());
    assertThat(crictl.run("images")).contains("registry.k8s.io/e2e-test-images/busybox");

    PodSandboxConfig.Builder pod = Requests.pod(daemon, "whole-life");
    String podId = crictl.runPod(pod);
    String container =
        crictl.create(
            podId,
            sh("main", "echo out; echo err >&2; trap 'exit 0' TERM; sleep 3600 & wait"),
            pod);
    assertThat(state(container)).isEqualTo("CONTAINER_CREATED");
    crictl.run("start", container);

    assertThat(crictl.run("ps", "-q", "--no-trunc")).isEqualTo(container);
    assertThat(crictl.run("pods", "-q", "--no-trunc")).isEqualTo(podId);
    assertThat(crictl.run("pods")).contains("whole-life", "Ready", "e2e");
    assertThat(crictl.json("inspectp", podId).at("/status/network/ip").asText())
        .startsWith("10.91.");
    Await.until(
        "both lines are in the log", SOON, () -> crictl.run("logs", container).contains("out"));
    assertThat(crictl.attempt("logs", container).err()).contains("err");
    assertThat(crictl.run("exec", "-s", container, "cat", "/proc/1/comm")).isEqualTo("sh");
    JsonNode stats = crictl.json("stats", container).at("/stats/0");
    assertThat(stats.at("/cpu/usageCoreNanoSeconds/value").asLong()).isPositive();
    assertThat(stats.at("/memory/workingSetBytes/value").asLong()).isPositive();
    JsonNode status = crictl.json("inspect", container).get("status");
    assertThat(status.get("state").asText()).isEqualTo("CONTAINER_RUNNING");
    assertThat(status.at("/image/image").asText()).contains("busybox");

    crictl.run("stop", "--timeout", "10", container);
    assertThat(state(container)).isEqualTo("CONTAINER_EXITED");
    assertThat(crictl.run("ps", "-q")).isEmpty();
    assertThat(crictl.run("ps", "-a", "-q", "--no-trunc")).isEqualTo(container);
    crictl.run("rm", container);
    assertThat(crictl.run("ps", "-a", "-q")).isEmpty();
    crictl.run("stopp", podId);
    assertThat(crictl.run("pods", "--state", "notready", "-q", "--no-trunc")).isEqualTo(podId);
    assertThat(crictl.json("inspectp", podId).at("/status/network/ip").asText()).isEmpty();
    crictl.run("rmp", podId);
    assertThat(crictl.run("pods", "-q")).isEmpty();
    daemon.assertNothingLeft();

    crictl.run("rmi", "--prune");
    assertThat(crictl.run("images", "-q")).isEmpty();
    Await.until(
        "no layer is left",
        SOON,
        () -> Leftovers.entries(daemon.layers()).stream().allMatch(p -> p.endsWith(".staging")));
  }

  @Test
  void containersOfAPodMeetOnLocalhostAndTheMachineReachesThem() throws Exception {
    int hostPort = freePort();
    PodSandboxConfig.Builder pod =
        Requests.pod(daemon, "served")
            .addPortMappings(PortMapping.newBuilder().setHostPort(hostPort).setContainerPort(8080));
    String podId = crictl.runPod(pod);
    crictl.start(podId, Requests.container("server", Requests.BUSYBOX, WEB_SERVER), pod);
    String client = crictl.start(podId, sleeper("client"), pod);

    Await.until(
        "the other container answers on localhost",
        SOON,
        () ->
            crictl
                .attempt("exec", "-s", client, "wget", "-q", "-O", "-", "http://127.0.0.1:8080/")
                .out()
                .contains("served"));
    String address = crictl.json("inspectp", podId).at("/status/network/ip").asText();
    assertThat(get("http://" + address + ":8080/")).isEqualTo("served\n");
    assertThat(get("http://127.0.0.1:" + hostPort + "/")).isEqualTo("served\n");
    assertThat(crictl.run("exec", "-s", client, "hostname")).isEqualTo("served");
  }

  @Test
  void portOfTheMachineIsOfTheProtocolAndTheAddressThatWereAsked() throws Exception {
    int port = freePort();
    PodSandboxConfig.Builder pod =
        Requests.pod(daemon, "ports")
            .addPortMappings(
                PortMapping.newBuilder()
                    .setProtocol(Protocol.UDP)
                    .setHostPort(port)
                    .setContainerPort(5353))
            .addPortMappings(
                PortMapping.newBuilder()
                    .setHostIp("127.0.0.2")
                    .setHostPort(port)
                    .setContainerPort(8080))
            .addPortMappings(
                PortMapping.newBuilder().setContainerPort(9999)); // none of the machine's
    String podId = crictl.runPod(pod);
    crictl.start(podId, Requests.container("server", Requests.BUSYBOX, WEB_SERVER), pod);
    crictl.start(podId, udpEcho(5353), pod);

    Await.until(
        "the server answers",
        SOON,
        () -> {
          try {
            return get("http://127.0.0.2:" + port + "/").equals("served\n");
          } catch (IOException notYet) {
            return false;
          }
        });
    assertThatThrownBy(() -> get("http://127.0.0.1:" + port + "/"))
        .as("another address of the machine")
        .isInstanceOf(IOException.class);
    try (var socket = new DatagramSocket()) {
      socket.setSoTimeout(1000);
      byte[] letter = "over UDP".getBytes(UTF_8);
      var answer = new DatagramPacket(new byte[512], 512);
      Await.until(
          "an answer over UDP",
          SOON,
          () -> {
            socket.send(
                new DatagramPacket(letter, letter.length, InetAddress.getLoopbackAddress(), port));
            try {
              socket.receive(answer);
              return true;
            } catch (SocketTimeoutException notYet) {
              return false;
            }
          });
      assertThat(new String(answer.getData(), 0, answer.getLength(), UTF_8)).isEqualTo("over UDP");
    }
  }

  /** With the machine's perl, as the image has nothing that speaks UDP. */
  private static ContainerConfig.Builder udpEcho(int port) {
    return Requests.container(
            "echo",
            Requests.BUSYBOX,
            List.of(
                "/machine/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
                "--library-path",
                "/machine/usr/lib/x86_64-linux-gnu",
                "/machine/usr/bin/perl",
                "-e",
                """
                socket(S, 2, 2, 17) && bind(S, pack('S n a4 x8', 2, %d, '')) or die $!;
                while (defined(my $from = recv(S, my $letter, 512, 0))) {
                  send(S, $letter, 0, $from)
                }
                """
                    .formatted(port)))
        .addMounts(
            Mount.newBuilder()
                .setHostPath("/usr")
                .setContainerPath("/machine/usr")
                .setReadonly(true));
  }

  @Test
  void podsOfTheMachinesNetworkSeeItsInterfacesAndName() throws Exception {
    NamespaceOption machine = Requests.ORDINARY.toBuilder().setNetwork(NamespaceMode.NODE).build();
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "on-the-machine", machine);
    String podId = crictl.runPod(pod);
    String container =
        crictl.start(
            podId, Requests.container("main", Requests.BUSYBOX, Requests.SLEEP, machine), pod);

    assertThat(crictl.run("exec", "-s", container, "readlink", "/proc/self/ns/net"))
        .isEqualTo(Files.readSymbolicLink(Path.of("/proc/self/ns/net")).toString());
    assertThat(crictl.run("exec", "-s", container, "hostname"))
        .isEqualTo(Files.readString(Path.of("/proc/sys/kernel/hostname")).strip());
    assertThat(crictl.json("inspectp", podId).at("/status/network/ip").asText()).isEmpty();
  }

  @Test
  void initOfASharedPidNamespaceReapsOrphans() throws Exception {
    NamespaceOption shared = Requests.ORDINARY.toBuilder().setPid(NamespaceMode.POD).build();
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "shared-processes", shared);
    String podId = crictl.runPod(pod);
    String one =
        crictl.start(
            podId,
            Requests.container(
                "one",
                Requests.BUSYBOX,
                // The inner shell ends before its child, which then has no parent in the container.
                List.of("sh", "-c", "sh -c 'sleep 0.1 &'; exec sleep 1111"),
                shared),
            pod);
    String other =
        crictl.start(
            podId, Requests.container("other", Requests.BUSYBOX, Requests.SLEEP, shared), pod);

    assertThat(crictl.run("exec", "-s", other, "cat", "/proc/1/comm")).isEqualTo("init");
    assertThat(crictl.run("exec", "-s", other, "ps")).contains("sleep 1111");
    assertThat(crictl.run("exec", "-s", one, "ps")).contains("sleep 3600");
    Await.until(
        "the orphan is gone",
        SOON,
        () -> {
          String processes = crictl.run("exec", "-s", one, "sh", "-c", "cat /proc/[0-9]*/stat");
          return !processes.contains(") Z ")
              && processes.lines().filter(l -> l.contains("(sleep)")).count() == 2;
        });
    crictl.run("stop", "--timeout", "0", one);
    assertThat(state(other)).isEqualTo("CONTAINER_RUNNING");
  }

  @Test
  void podBringsNameResolversHostsAndSharedMemory() throws Exception {
    PodSandboxConfig.Builder pod =
        Requests.pod(daemon, "with-files")
            .setDnsConfig(
                DNSConfig.newBuilder()
                    .addServers("192.0.2.1")
                    .addSearches("e2e.test")
                    .addOptions("ndots:3"));
    String podId = crictl.runPod(pod);
    String one = crictl.start(podId, sleeper("one"), pod);
    String other = crictl.start(podId, sleeper("other"), pod);

    assertThat(crictl.run("exec", "-s", one, "cat", "/etc/hostname")).isEqualTo("with-files");
    assertThat(crictl.run("exec", "-s", one, "sh", "-c", "echo $HOSTNAME")).isEqualTo("with-files");
    assertThat(crictl.run("exec", "-s", one, "cat", "/etc/resolv.conf").lines())
        .containsExactly("search e2e.test", "nameserver 192.0.2.1", "options ndots:3");
    assertThat(crictl.run("exec", "-s", one, "cat", "/etc/hosts")).contains("localhost");
    assertThat(crictl.run("exec", "-s", one, "df", "-k", "/dev/shm")).contains("65536");
    crictl.run("exec", "-s", one, "sh", "-c", "echo hello > /dev/shm/letter");
    assertThat(crictl.run("exec", "-s", other, "cat", "/dev/shm/letter")).isEqualTo("hello");
  }

  @Test
  void exitCodeReasonAndTimesAreKept() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "exits");
    String podId = crictl.runPod(pod);
    JsonNode fine = ended(crictl.start(podId, sh("fine", "exit 0"), pod));
    JsonNode failed = ended(crictl.start(podId, sh("failed", "exit 42"), pod));

    assertThat(fine.get("exitCode").asInt()).isZero();
    assertThat(fine.get("reason").asText()).isEqualTo("Completed");
    assertThat(failed.get("exitCode").asInt()).isEqualTo(42);
    assertThat(failed.get("reason").asText()).isEqualTo("Error");
    for (JsonNode status : List.of(fine, failed)) {
      assertThat(time(status, "startedAt")).isAfterOrEqualTo(time(status, "createdAt"));
      assertThat(time(status, "finishedAt")).isAfterOrEqualTo(time(status, "startedAt"));
    }
  }

  @Test
  void containerThatOutgrowsItsMemoryIsReportedAsKilledForIt() throws Exception {
    long limit = 32L << 20;
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "out-of-memory");
    ContainerConfig.Builder greedy = sh("greedy", "tail /dev/zero; exit 137");
    greedy
        .getLinuxBuilder()
        .setResources(
            LinuxContainerResources.newBuilder()
                .setMemoryLimitInBytes(limit)
                .setMemorySwapLimitInBytes(limit));
    JsonNode status = ended(crictl.start(crictl.runPod(pod), greedy, pod));

    assertThat(status.get("reason").asText()).isEqualTo("OOMKilled");
    assertThat(status.get("exitCode").asInt()).isEqualTo(137);
  }

  @Test
  void stopSendsTheSignalAndKillsAfterTheGrace() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "stopped");
    String podId = crictl.runPod(pod);
    String polite =
        crictl.start(podId, sh("polite", "trap 'exit 7' TERM; echo ready; sleep 3600 & wait"), pod);
    String deaf =
        crictl.start(podId, sh("deaf", "trap '' TERM; echo ready; sleep 3600 & wait"), pod);
    String own =
        crictl.start(
            podId,
            sh("own-signal", "trap 'exit 8' USR1; trap '' TERM; echo ready; sleep 3600 & wait")
                .setStopSignal(Signal.SIGNAL_SIGUSR1),
            pod);
    for (String container : List.of(polite, deaf, own)) {
      Await.until("its trap is set", SOON, () -> crictl.run("logs", container).contains("ready"));
    }

    long before = System.nanoTime();
    crictl.run("stop", "--timeout", "30", polite);
    crictl.run("stop", "--timeout", "30", own);
    assertThat(Duration.ofNanos(System.nanoTime() - before)).isLessThan(Duration.ofSeconds(20));
    assertThat(ended(polite).get("exitCode").asInt()).isEqualTo(7);
    assertThat(ended(own).get("exitCode").asInt()).isEqualTo(8);

    before = System.nanoTime();
    crictl.run("stop", "--timeout", "1", deaf);
    assertThat(Duration.ofNanos(System.nanoTime() - before))
        .isBetween(Duration.ofSeconds(1), Duration.ofSeconds(15));
    assertThat(ended(deaf).get("exitCode").asInt()).isEqualTo(137);
  }

  @Test
  void logLinesCarryTimeStreamAndWhetherTheyAreWhole() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "logged");
    ended(
        crictl.start(
            crictl.runPod(pod),
            sh("main", "echo to-stdout; echo to-stderr >&2; sleep 0.2; echo; printf unfinished"),
            pod));
    Path log = daemon.logs().resolve("logged/main.log");

    List<String> lines = Files.readAllLines(log, UTF_8);
    String time = "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d+(Z|[+-]\\d\\d:\\d\\d)";
    assertThat(lines).allMatch(line -> line.matches(time + " (stdout|stderr) [PF] .*"));
    assertThat(lines.stream().map(line -> line.replaceFirst("^\\S+ ", "")))
        .containsExactlyInAnyOrder(
            "stdout F to-stdout", "stderr F to-stderr", "stdout F ", "stdout P unfinished");
    assertThat(OffsetDateTime.parse(lines.getFirst().split(" ")[0]).toInstant())
        .isBetween(
            Files.getLastModifiedTime(log).toInstant().minusSeconds(60),
            Files.getLastModifiedTime(log).toInstant().plusSeconds(1));
  }

  @Test
  void execTellsTheExitCodeAndKillsWhatTakesTooLong() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "executed");
    String container = crictl.start(crictl.runPod(pod), sleeper("main"), pod);

    var failed = crictl.attempt("exec", "-s", container, "sh", "-c", "echo said; exit 5");
    assertThat(failed.err()).contains("exited with 5");
    assertThat(failed.ok()).isFalse();

    var late = crictl.attempt("exec", "-s", "--timeout", "1", container, "sleep", "2222");
    assertThat(late.err()).contains("timed out");
    assertThat(crictl.run("exec", "-s", container, "ps")).doesNotContain("sleep 2222");
  }

  @Test
  void removingAPodTakesItsRunningContainersAlong() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "forced");
    String podId = crictl.runPod(pod);
    crictl.start(podId, sleeper("one"), pod);
    crictl.create(podId, sleeper("never-started"), pod);

    crictl.run("rmp", "--force", podId);

    assertThat(crictl.run("ps", "-a", "-q")).isEmpty();
    assertThat(daemon.logs().resolve("forced/one.log")).exists();
  }

  @Test
  void maskedPathsAreEmptyAndReadOnlyOnesRefuseWriting() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "masked");
    ContainerConfig.Builder masked = sleeper("main");
    masked
        .getLinuxBuilder()
        .getSecurityContextBuilder()
        .addMaskedPaths("/etc/passwd")
        .addMaskedPaths("/usr")
        .addReadonlyPaths("/tmp");
    String container = crictl.start(crictl.runPod(pod), masked, pod);

    assertThat(crictl.run("exec", "-s", container, "cat", "/etc/passwd")).isEmpty();
    assertThat(crictl.run("exec", "-s", container, "ls", "/usr")).isEmpty();
    assertThat(crictl.attempt("exec", "-s", container, "touch", "/tmp/file").err())
        .contains("Read-only file system");
  }

  @Test
  void imageByDigestHasNoTagAndKeepsTheDigestAsked() throws Exception {
    String digest = crictl.json("inspecti", Requests.BUSYBOX).at("/status/repoDigests/0").asText();
    crictl.run("rmi", Requests.BUSYBOX);

    crictl.run("pull", digest);

    JsonNode status = crictl.json("inspecti", digest).get("status");
    assertThat(status.get("repoTags")).isEmpty();
    assertThat(status.get("repoDigests")).hasSize(1);
    assertThat(status.at("/repoDigests/0").asText()).isEqualTo(digest);
    crictl.run("rmi", digest);
    assertThat(crictl.run("images", "-q")).isEmpty();
  }

  private static ContainerConfig.Builder sh(String name, String script) {
    return Requests.container(name, Requests.BUSYBOX, List.of("sh", "-c", script));
  }

  private static ContainerConfig.Builder sleeper(String name) {
    return Requests.container(name, Requests.BUSYBOX, Requests.SLEEP);
  }

  private String state(String container) throws InterruptedException {
    return crictl.json("inspect", container).at("/status/state").asText();
  }

  /** Waits for the container's end and gives its status. */
  private JsonNode ended(String container) throws InterruptedException {
    Await.until("it has ended", SOON, () -> state(container).equals("CONTAINER_EXITED"));
    return crictl.json("inspect", container).get("status");
  }

  private static OffsetDateTime time(JsonNode status, String field) {
    return OffsetDateTime.parse(status.get(field).asText());
  }

  private static int freePort() throws IOException {
    try (var socket = new ServerSocket()) {
      socket.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
      return socket.getLocalPort();
    }
  }

  private static String get(String address) throws IOException, InterruptedException {
    try (var client = HttpClient.newBuilder().connectTimeout(SOON).build()) {
      var request = HttpRequest.newBuilder(URI.create(address)).timeout(SOON).build();
      return client.send(request, HttpResponse.BodyHandlers.ofString()).body();
    }
  }
}
