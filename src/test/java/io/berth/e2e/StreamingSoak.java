package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.ExecSyncRequest;
import io.berth.cri.v1.ExecSyncResponse;
import io.berth.cri.v1.ReopenContainerLogRequest;
import io.berth.e2e.StreamClients.Client;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Execs, logs and streams in the numbers of a month: {@code ./dev soak}. */
@Timeout(value = 40, unit = TimeUnit.MINUTES, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class StreamingSoak extends StreamingPod {
  private static final Duration SOON = Duration.ofMinutes(2);

  StreamingSoak(DockerRegistry registry) {
    super(registry, "soak");
  }

  private ExecSyncResponse exec(String container, long timeout, String script) {
    return daemon
        .client()
        .runtime()
        .execSync(
            ExecSyncRequest.newBuilder()
                .setContainerId(container)
                .addAllCmd(List.of("sh", "-c", script))
                .setTimeout(timeout)
                .build());
  }

  private static void repeat(int times, int atOnce, Callable<?> task) throws Exception {
    try (ExecutorService workers = Executors.newFixedThreadPool(atOnce)) {
      var all = new ArrayList<Future<?>>();
      for (int i = 0; i < times; i++) {
        all.add(workers.submit(task));
      }
      for (Future<?> one : all) {
        one.get();
      }
    }
  }

  @Test
  void fiveThousandExecsThatLeaveAChildLeaveTheDaemonAsItWas() throws Exception {
    // Its first process waits for the orphans that it gets.
    String container = crictl.start(podId, sh("main", "while :; do sleep 1; done"), pod);
    Callable<?> once =
        () -> {
          ExecSyncResponse answer = exec(container, 60, "sleep 1 & echo begun");
          assertThat(answer.getStdout().toStringUtf8()).isEqualTo("begun\n");
          return answer;
        };
    repeat(200, 4, once);
    Footprint.awaitQuiet(daemon.pid(), SOON);
    Footprint before = Footprint.of(daemon.pid());
    long memory = Footprint.memory(daemon.pid());

    repeat(5000, 4, once);
    Await.until(
        "the daemon is as before: " + before,
        SOON,
        () -> Footprint.of(daemon.pid()).within(before));
    Footprint.awaitQuiet(daemon.pid(), SOON);
    // The record of calls fills up to its bound meanwhile.
    assertThat(Footprint.memory(daemon.pid())).isLessThan(memory + (8 << 20));
    Await.until(
        "only the container's own processes are left",
        SOON,
        () -> crictl.run("exec", "-s", container, "ps", "-o", "comm").lines().count() <= 4);
  }

  @Test
  void fiveHundredExecsThatTimeOutAreEndedWithAllTheyStarted() throws Exception {
    String container = crictl.start(podId, sh("main", "exec sleep 100000"), pod);
    Callable<?> once =
        () -> {
          try {
            return exec(container, 2, "sleep 300 & sleep 300");
          } catch (StatusRuntimeException late) {
            assertThat(late.getStatus().getCode()).isEqualTo(Status.Code.DEADLINE_EXCEEDED);
            return late;
          }
        };
    repeat(50, 50, once);
    Footprint.awaitQuiet(daemon.pid(), SOON);
    Footprint before = Footprint.of(daemon.pid());
    repeat(500, 50, once);
    Await.until(
        "the daemon is as before: " + before,
        SOON,
        () -> Footprint.of(daemon.pid()).within(before));
    assertThat(crictl.run("exec", "-s", container, "ps", "-o", "args")).doesNotContain("sleep 300");
  }

  @Test
  void aMillionLinesOfEachStreamOutliveFiveHundredReopenings() throws Exception {
    int lines = 1_000_000;
    int reopenings = 500;
    String container =
        crictl.start(
            podId,
            sh(
                    "talker",
                    "read go; seq 1 %1$d & seq 1 %1$d >&2; wait; exec sleep 100000"
                        .formatted(lines))
                .setStdin(true)
                .setStdinOnce(true),
            pod);
    Path log = daemon.logs().resolve("soak").resolve("talker.log");
    Client starter = clients.attach("spdy", container, true, false);
    starter.send("go\n");
    starter.stdin().close();
    Await.until("it talks", SOON, () -> Files.size(log) > 0);

    // The words of each stream so far, in order, and what of a line came in parts.
    var next = new long[] {1, 1};
    var part = List.of(new StringBuilder(), new StringBuilder());
    for (int i = 0; i < reopenings; i++) {
      Path old = log.resolveSibling("talker.log." + i);
      Files.move(log, old);
      var _ =
          daemon
              .client()
              .runtime()
              .reopenContainerLog(
                  ReopenContainerLogRequest.newBuilder().setContainerId(container).build());
      check(old, next, part);
      Files.delete(old);
    }
    Await.until(
        "all is written",
        Duration.ofMinutes(10),
        () -> {
          try (var content = Files.lines(log)) {
            return content.filter(line -> line.endsWith(" " + lines)).count() == 2
                || next[0] + next[1] == 2L * lines + 2;
          }
        });
    check(log, next, part);
    assertThat(next).containsExactly(lines + 1, lines + 1);
  }

  private static void check(Path log, long[] next, List<StringBuilder> part) throws IOException {
    try (BufferedReader reader = Files.newBufferedReader(log)) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        String[] fields = line.split(" ", 4);
        int stream = fields[1].equals("stdout") ? 0 : 1;
        part.get(stream).append(fields[3]);
        if (fields[2].equals("F")) {
          assertThat(part.get(stream).toString()).isEqualTo(Long.toString(next[stream]++));
          part.get(stream).setLength(0);
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"spdy", "websocket"})
  void aGibibyteGoesInAndComesBack(String transport) throws Exception {
    String container = crictl.start(podId, sh("main", "exec sleep 100000"), pod);
    MessageDigest sent = MessageDigest.getInstance("SHA-256");
    Client echo = clients.exec(transport, container, true, List.of(), "cat");
    Thread sender = send(echo, sent, 1024);
    MessageDigest received = MessageDigest.getInstance("SHA-256");
    try (InputStream from = new DigestInputStream(echo.process().getInputStream(), received)) {
      assertThat(from.transferTo(OutputStream.nullOutputStream())).isEqualTo(1L << 30);
    }
    sender.join();
    assertThat(received.digest()).isEqualTo(sent.digest());
    assertThat(echo.exitCode()).isZero();

    MessageDigest again = MessageDigest.getInstance("SHA-256");
    Client digest = clients.exec(transport, container, true, List.of(), "sha256sum");
    send(digest, again, 1024).join();
    assertThat(digest.rest()).startsWith(HexFormat.of().formatHex(again.digest()));
    assertThat(digest.exitCode()).isZero();
  }

  private static Thread send(Client client, MessageDigest digest, int mebibytes) {
    byte[] block = new byte[1 << 20];
    new Random(6).nextBytes(block);
    return Thread.ofVirtual()
        .start(() -> {
          try (OutputStream to = client.stdin()) {
            for (int i = 0; i < mebibytes; i++) {
              block[0] = (byte) i;
              digest.update(block);
              to.write(block);
            }
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }
}
