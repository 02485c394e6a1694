package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.cri.v1.AttachRequest;
import io.berth.cri.v1.ExecRequest;
import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.NamespaceOption;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.ReopenContainerLogRequest;
import io.berth.e2e.StreamClients.Client;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Exec, attach and logs, as a client made of Kubernetes' own library sees them. */
@Timeout(value = 5, unit = TimeUnit.MINUTES, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class StreamingIT extends StreamingPod {
  private static final Duration SOON = Duration.ofSeconds(60);

  StreamingIT(DockerRegistry registry) {
    super(registry, "streams");
  }

  private String sleeper() throws InterruptedException {
    return crictl.start(podId, Requests.container("main", Requests.BUSYBOX, Requests.SLEEP), pod);
  }

  private String state(String container) throws InterruptedException {
    return crictl.json("inspect", container).at("/status/state").asText();
  }

  private Path log(String name) {
    return daemon.logs().resolve("streams").resolve(name + ".log");
  }

  @ParameterizedTest
  @ValueSource(strings = {"spdy", "websocket"})
  void execsStreamsAreApartAndItsExitCodeComesLast(String transport) throws Exception {
    Client client =
        clients.exec(
            transport,
            sleeper(),
            true,
            List.of(),
            "sh",
            "-c",
            "cat; echo problem >&2; seq 1 20000; exit 7");
    client.send("one\ntwo\n");
    client.stdin().close();
    List<String> lines = client.rest().lines().toList();
    assertThat(lines.subList(0, 3)).containsExactly("one", "two", "1");
    assertThat(lines).hasSize(20002).endsWith("20000");
    assertThat(client.errors()).contains("problem");
    assertThat(client.exitCode()).isEqualTo(7);
  }

  @ParameterizedTest
  @ValueSource(strings = {"spdy", "websocket"})
  void muchInputComesBackUnchanged(String transport) throws Exception {
    Client client = clients.exec(transport, sleeper(), true, List.of(), "cat");
    byte[] block = new byte[1 << 20];
    new Random(6).nextBytes(block);
    MessageDigest sent = MessageDigest.getInstance("SHA-256");
    Thread writer =
        Thread.ofVirtual()
            .start(() -> {
              try (OutputStream to = client.stdin()) {
                for (int i = 0; i < 48; i++) {
                  block[0] = (byte) i;
                  sent.update(block);
                  to.write(block);
                }
              } catch (IOException e) {
                throw new java.io.UncheckedIOException(e);
              }
            });
    MessageDigest received = MessageDigest.getInstance("SHA-256");
    try (InputStream from = new DigestInputStream(client.process().getInputStream(), received)) {
      assertThat(from.transferTo(OutputStream.nullOutputStream())).isEqualTo(48L << 20);
    }
    writer.join();
    assertThat(HexFormat.of().formatHex(received.digest()))
        .isEqualTo(HexFormat.of().formatHex(sent.digest()));
    assertThat(client.exitCode()).isZero();
  }

  @ParameterizedTest
  @ValueSource(strings = {"spdy", "websocket"})
  void terminalHasTheClientsSizeAndTakesItsKeys(String transport) throws Exception {
    Client client =
        clients.exec(transport, sleeper(), true, List.of("-tty", "-size", "101x37"), "sh", "-i");
    // The size may come a moment after the shell.
    client.send("until stty size | grep -q '^37 101$'; do :; done; tty; exit 3\n");
    assertThat(client.rest()).contains("/dev/pts/");
    assertThat(client.exitCode()).isEqualTo(3);
  }

  @Test
  void whatAnExecLeavesInTheBackgroundHoldsUpNothing() throws Exception {
    String container = sleeper();
    Client client =
        clients.exec(
            "spdy", container, false, List.of(), "sh", "-c", "sleep 7654 & echo begun; exit 4");
    assertThat(client.rest()).isEqualTo("begun\n");
    assertThat(client.exitCode()).isEqualTo(4);
    assertThat(crictl.run("exec", "-s", container, "ps")).contains("sleep 7654");
    assertThat(crictl.attempt("exec", "-s", container, "sh", "-c", "sleep 8765 & echo sync").out())
        .contains("sync");
  }

  @Test
  void commandEndsWithItsClient() throws Exception {
    String container = sleeper();
    Client client =
        clients.exec(
            "spdy",
            container,
            false,
            List.of(),
            "sh",
            "-c",
            "trap '' HUP PIPE; echo begun; sleep 6543; sleep 6542");
    assertThat(client.line()).isEqualTo("begun");
    client.process().destroyForcibly().waitFor();
    Await.until(
        "the command is gone",
        SOON,
        () -> !crictl.run("exec", "-s", container, "ps").contains("sleep 654"));
    assertThat(state(container)).isEqualTo("CONTAINER_RUNNING");
  }

  @Test
  void execOfAContainerThatIsStoppedEnds() throws Exception {
    NamespaceOption shared = Requests.ORDINARY.toBuilder().setPid(NamespaceMode.POD).build();
    PodSandboxConfig.Builder sharing = Requests.pod(daemon, "sharing", shared);
    String container =
        crictl.start(
            crictl.runPod(sharing),
            Requests.container("main", Requests.BUSYBOX, Requests.SLEEP, shared),
            sharing);
    Client client =
        clients.exec(
            "spdy", container, false, List.of(), "sh", "-c", "echo begun; exec sleep 5432");
    assertThat(client.line()).isEqualTo("begun");
    crictl.run("stop", "--timeout", "10", container);
    assertThat(client.exitCode()).isEqualTo(137);
  }

  @ParameterizedTest
  @ValueSource(strings = {"spdy", "websocket"})
  void severalClientsAttachSeeTheSameAndLeaveWithoutHarm(String transport) throws Exception {
    String container =
        crictl.start(
            podId,
            sh("shell", "while read line; do echo got $line; echo not $line >&2; done; exit 5")
                .setStdin(true),
            pod);
    Client first = clients.attach(transport, container, true, false);
    Client second = clients.attach(transport, container, true, false);
    Client looking = clients.attach(transport, container, false, false);
    // Only who is there when something is written sees it: each says something until it is heard.
    awaitAttached(first, second, looking);

    first.process().destroyForcibly().waitFor();
    second.stdin().close(); // others may go on sending, as stdin_once isn't set
    Client third = clients.attach(transport, container, true, false);
    assertThat(state(container)).isEqualTo("CONTAINER_RUNNING");
    third.send("again\n");
    awaitLine(second, "got again");
    awaitLine(looking, "got again");

    crictl.run("stop", "--timeout", "0", container);
    for (Client client : List.of(second, looking, third)) {
      assertThat(client.exitCode()).as("an attach ends well, however the container did").isZero();
    }
  }

  private static void awaitAttached(Client speaker, Client... others) throws Exception {
    for (Client client : others) {
      Thread hearing =
          Thread.ofVirtual()
              .start(() -> {
                try {
                  awaitLine(client, "got hello");
                } catch (IOException e) {
                  throw new java.io.UncheckedIOException(e);
                }
              });
      Await.until(
          "it hears",
          SOON,
          () -> {
            speaker.send("hello\n");
            return hearing.join(Duration.ofMillis(200));
          });
    }
  }

  private static void awaitLine(Client client, String line) throws IOException {
    String read = client.line();
    while (!read.equals(line)) {
      read = client.line();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"spdy", "websocket"})
  void inputOnceEndsWithItsSenderAndNotWithOneWhoLooksOn(String transport) throws Exception {
    String container =
        crictl.start(
            podId,
            sh("shell", "while read line; do echo got $line; done; echo over; sleep 3600")
                .setStdin(true)
                .setStdinOnce(true),
            pod);
    Client sender = clients.attach(transport, container, true, false);
    Client looking = clients.attach(transport, container, false, false);
    awaitAttached(sender, looking);
    looking.process().destroyForcibly().waitFor();
    // Its end has reached conmon when another attach is served: it takes one after the other.
    Client later = clients.attach(transport, container, false, false);
    awaitAttached(sender, later);

    sender.stdin().close();
    awaitLine(sender, "over");
    awaitLine(later, "over");
  }

  @Test
  void attachedTerminalIsResized() throws Exception {
    String container =
        crictl.start(
            podId,
            sh("shell", "until stty size | grep -q '^37 101$'; do :; done; read line; echo $line")
                .setStdin(true)
                .setTty(true),
            pod);
    String url =
        daemon
            .client()
            .runtime()
            .attach(
                AttachRequest.newBuilder()
                    .setContainerId(container)
                    .setStdin(true)
                    .setStdout(true)
                    .setTty(true)
                    .build())
            .getUrl();
    Client client =
        clients.start("attach", "spdy", url, true, true, List.of("-tty", "-size", "101x37"));
    client.send("seen\n");
    assertThat(client.rest()).contains("seen");
    assertThat(client.exitCode()).isZero();
  }

  @Test
  void whatCantBeEnteredIsRefusedAtOnceAndWhenTheClientComes() throws Exception {
    String created = crictl.create(podId, sh("created", "true"), pod);
    var runtime = daemon.client().runtime();
    assertThatThrownBy(() ->
            runtime.exec(
                ExecRequest.newBuilder()
                    .setContainerId(created)
                    .addCmd("true")
                    .setStdout(true)
                    .build()))
        .isInstanceOf(StatusRuntimeException.class)
        .hasMessageContaining("FAILED_PRECONDITION")
        .hasMessageContaining("only a running container");
    assertThatThrownBy(() ->
            runtime.attach(
                AttachRequest.newBuilder().setContainerId(created).setStdout(true).build()))
        .isInstanceOf(StatusRuntimeException.class)
        .hasMessageContaining("FAILED_PRECONDITION");

    String container = sleeper();
    String url =
        runtime
            .exec(
                ExecRequest.newBuilder()
                    .setContainerId(container)
                    .addCmd("true")
                    .setStdout(true)
                    .setStderr(true)
                    .build())
            .getUrl();
    for (ExecRequest.Builder wrong :
        List.of(
            ExecRequest.newBuilder().addCmd("true"),
            ExecRequest.newBuilder().setStdout(true),
            ExecRequest.newBuilder().addCmd("true").setTty(true).setStdout(true).setStderr(true))) {
      assertThatThrownBy(() -> runtime.exec(wrong.setContainerId(container).build()))
          .isInstanceOfSatisfying(
              StatusRuntimeException.class,
              e -> assertThat(e.getStatus().getCode()).isEqualTo(Status.Code.INVALID_ARGUMENT));
    }
    crictl.run("stop", "--timeout", "0", container);
    Client late = clients.start("exec", "spdy", url, false, false, List.of());
    assertThat(late.errors()).contains("only a running container");
    assertThat(late.exitCode()).isEqualTo(255);
  }

  @Test
  void missingProgramIsToldInTheRuntimesWords() throws Exception {
    Client client = clients.exec("spdy", sleeper(), false, List.of(), "/no/such/program");
    assertThat(client.errors()).contains("/no/such/program").contains("no such file");
    assertThat(client.exitCode()).isNotZero();
  }

  @Test
  void reopenedLogLosesNothingAndTheOldOneIsFinal() throws Exception {
    int lines = 100_000;
    String container =
        crictl.start(
            podId,
            sh("talker", "read go; seq 1 %1$d & seq 1 %1$d >&2; wait; sleep 3600".formatted(lines))
                .setStdin(true)
                .setStdinOnce(true),
            pod);
    Path log = log("talker");
    assertThat(Files.getPosixFilePermissions(log))
        .hasToString("[OWNER_READ, OWNER_WRITE, GROUP_READ]");
    Client starter = clients.attach("spdy", container, true, false);
    starter.send("go\n");
    starter.stdin().close();

    Await.until("it talks", SOON, () -> Files.size(log) > 0);
    List<Path> files = new ArrayList<>();
    List<Long> sizes = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      Path old = log.resolveSibling("talker.log." + i);
      Files.move(log, old);
      reopen(container);
      assertThat(log).exists();
      files.add(old);
      sizes.add(Files.size(old));
    }
    assertThat(Files.getPosixFilePermissions(log))
        .hasToString("[OWNER_READ, OWNER_WRITE, GROUP_READ]");
    files.add(log);
    Await.until(
        "all is written",
        SOON,
        () -> {
          long written = 0;
          for (Path file : files) {
            written += Files.readAllLines(file).stream().filter(l -> l.contains(" F ")).count();
          }
          return written == 2L * lines;
        });
    for (int i = 0; i < sizes.size(); i++) {
      assertThat(Files.size(files.get(i))).as("a log that was let go").isEqualTo(sizes.get(i));
    }
    for (String stream : List.of("stdout", "stderr")) {
      var content = new StringBuilder();
      for (Path file : files) {
        for (String line : Files.readAllLines(file)) {
          String[] fields = line.split(" ", 4);
          if (fields[1].equals(stream)) {
            content.append(fields[3]).append(fields[2].equals("F") ? "\n" : "");
          }
        }
      }
      var expected = new StringBuilder();
      for (int i = 1; i <= lines; i++) {
        expected.append(i).append('\n');
      }
      assertThat(content.toString()).isEqualTo(expected.toString());
    }

    assertThat(sizes)
        .as("rotated while it talks")
        .filteredOn(size -> size > 0)
        .hasSizeGreaterThan(2);
    Object before = Files.readAttributes(log, BasicFileAttributes.class).fileKey();
    reopen(container); // it still has its name: nothing is lost
    assertThat(Files.readAttributes(log, BasicFileAttributes.class).fileKey()).isEqualTo(before);
    crictl.run("stop", "--timeout", "0", container);
    Files.delete(log);
    assertThatThrownBy(() -> reopen(container)).hasMessageContaining("only a running container");
    assertThat(log).doesNotExist();
  }

  private void reopen(String container) {
    var _ =
        daemon
            .client()
            .runtime()
            .reopenContainerLog(
                ReopenContainerLogRequest.newBuilder().setContainerId(container).build());
  }

  @Test
  void logWithACapIsRotatedAndFollowedOverIt() throws Exception {
    String container =
        crictl.start(
            podId,
            // About 2 MB, in the time of two or three looks at its size.
            sh(
                    "capped",
                    "echo begun; until [ -e /tmp/go ]; do sleep 0.1; done; "
                        + "i=0; while [ $i -lt 30 ]; do i=$((i+1)); seq $((i*1000)) $((i*1000+999)); "
                        + "echo problem $i >&2; sleep 0.5; done; printf end")
                .putAnnotations("berth.io/log-max-size", "100KiB")
                .putAnnotations("berth.io/log-max-files", "3"),
            pod);
    Client follower =
        clients.run(
            List.of(
                BerthDaemon.distribution().resolve("berth").toString(),
                "logs",
                "-f",
                "--socket",
                daemon.socket().toString(),
                "streams/capped"));
    assertThat(follower.line()).isEqualTo("begun");
    crictl.run("exec", "-s", container, "touch", "/tmp/go");

    List<String> expected = new ArrayList<>();
    for (int i = 1000; i < 31_000; i++) {
      expected.add(Integer.toString(i));
    }
    expected.add("end");
    assertThat(follower.rest().lines().toList()).isEqualTo(expected);
    assertThat(follower.exitCode()).isZero();
    assertThat(Files.readAllLines(log("capped"))).hasSizeLessThan(expected.size());
    assertThat(state(container)).isEqualTo("CONTAINER_EXITED");
    try (var files = Files.list(log("capped").getParent())) {
      assertThat(files).hasSizeBetween(2, 3);
    }
  }
}
