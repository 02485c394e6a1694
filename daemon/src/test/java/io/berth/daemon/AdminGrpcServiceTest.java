package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.berth.admin.v1.ImageTrustResponse;
import io.berth.linux.Debt;
import io.berth.linux.DebtLedger;
import io.berth.linux.Stages;
import io.grpc.Status;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// The `berth` command against a served daemon: over the socket, as an administrator would.
@Timeout(60)
class AdminGrpcServiceTest {
  @TempDir Path folder;
  private final OperationLog operations = new OperationLog(Subject.Directory.EMPTY);
  private final CompletableFuture<byte[]> imported = new CompletableFuture<>();
  private final CountDownLatch started = new CountDownLatch(1);
  private volatile String source = "";
  private Path socket = Path.of("/");
  private DebtLedger debts;
  private FlightRecorder recorder;
  private CriServer server;

  @BeforeEach
  void serve() {
    socket = folder.resolve("berth.sock");
    recorder = FlightRecorder.start(folder.resolve("recorder"), ByteSize.ofMiB(1));
    operations.tell(recorder);
    debts = new DebtLedger(folder.resolve("debts"), Clock.systemUTC());
    var interceptor = new CallInterceptor(operations);
    server =
        CriServer.start(
            new DaemonConfig.Server(
                socket, Optional.empty(), Duration.ofSeconds(1), Duration.ofMinutes(2)),
            interceptor,
            List.of(
                new AdminGrpcService(
                    operations,
                    new PodHistory(recorder, operations),
                    debts,
                    asked -> ImageTrustResponse.getDefaultInstance(),
                    this::importArchive)));
  }

  @AfterEach
  void stop() {
    server.close();
    recorder.close();
    debts.close();
  }

  private List<String> importArchive(InputStream archive, String from, String name) {
    source = from;
    started.countDown();
    try {
      byte[] bytes = Stages.time("read", () -> archive.readAllBytes());
      imported.complete(bytes);
      if (bytes.length == 0) {
        throw Status.INVALID_ARGUMENT.withDescription("no archive").asRuntimeException();
      }
      return List.of("localhost/" + name + ":latest");
    } catch (IOException interrupted) {
      imported.completeExceptionally(interrupted);
      throw new UncheckedIOException(interrupted);
    }
  }

  @Test
  void anArchiveArrivesWhole() throws Exception {
    byte[] archive = new byte[9_000_001];
    new Random(1).nextBytes(archive);
    Path file = Files.write(folder.resolve("image.tar"), archive);
    assertThat(berth("import", file.toString(), "--name", "app"))
        .isEqualTo("0: localhost/app:latest\n");
    assertThat(imported.get()).isEqualTo(archive);
    assertThat(source).isEqualTo(file.toString());
    assertThat(operations.list("", true))
        .singleElement()
        .satisfies(operation -> {
          assertThat(operation.method()).isEqualTo("Import");
          assertThat(operation.stages()).extracting(Stages.Stage::name).containsExactly("read");
        });
  }

  @Test
  void aRefusedArchiveTellsWhyAndFails() throws Exception {
    Path file = Files.write(folder.resolve("empty.tar"), new byte[0]);
    assertThat(berth("import", file.toString())).isEqualTo("1: berth: no archive\n");
  }

  @Test
  void aClientThatLeavesInterruptsTheImport() throws Exception {
    try (var connection = new DaemonConnection(socket)) {
      var call = io.berth.admin.v1.AdminGrpc.newBlockingV2Stub(connection.channel()).import_();
      call.write(
          io.berth.admin.v1.ImportChunk.newBuilder()
              .setLabel(io.berth.admin.v1.ImportLabel.newBuilder().setSource("test"))
              .build());
      started.await();
      call.cancel("enough", null);
      assertThatThrownBy(() -> imported.get(20, TimeUnit.SECONDS))
          .hasMessageContaining("the client stopped sending");
    }
  }

  @Test
  void debtsAreListedForPeopleAndPrograms() throws Exception {
    assertThat(berth("debts")).isEqualTo("0: nothing is owed\n");
    debts.owe(
        new Debt("cni-del", "abc", Map.of("network", "net")), new IOException("plugin is missing"));
    assertThat(berth("debts"))
        .startsWith("0: cni-del abc, owed since ")
        .contains("1 attempts")
        .contains("plugin is missing");
    JsonNode json = new JsonMapper().readTree(berth("debts", "-o", "json").substring(3));
    assertThat(json.get(0).get("details").get("network").asText()).isEqualTo("net");
    assertThat(json.get(0).get("attempts").asInt()).isEqualTo(1);
  }

  @Test
  void operationsAreListedWithTheirStagesAndFilteredByObject() throws Exception {
    OperationLog.Running done = operations.begin("RunPodSandbox");
    done.concerns("default/web");
    Stages.record(
        done.stages(),
        () -> {
          Stages.run("network", () -> {});
          return true;
        });
    var _ = done.finish(Status.UNKNOWN.withDescription("no address left"));
    OperationLog.Running hanging = operations.begin("StopContainer");
    hanging.concerns("c1");
    assertThat(berth("ops", "default/", "--all"))
        .matches(
            "(?s)0: \\S+ \\S+  [0-9a-f]{8}  RunPodSandbox default/web  [0-9.]+ ms"
                + "  UNKNOWN: no address left\\R +\\+[0-9.]+ ms  network +[0-9.]+ ms\\R");
    assertThat(berth("ops", "c1")).contains("StopContainer c1  running for ");
    JsonNode json = new JsonMapper().readTree(berth("ops", "c1", "-o", "json").substring(3));
    assertThat(json.get(0).get("finished_at").asLong()).isZero();
  }

  @Test
  void withoutADaemonOneSentenceSaysWhatToDo() throws Exception {
    socket = folder.resolve("nobody.sock");
    assertThat(berth("debts"))
        .startsWith("1: berth: nobody answers on " + socket + ": start berthd")
        .hasLineCount(1);
  }

  /// The exit code and what was printed.
  private String berth(String... words) throws Exception {
    var arguments = new ArrayList<>(List.of(words));
    arguments.add("--socket");
    arguments.add(socket.toString());
    PrintStream out = System.out;
    PrintStream err = System.err;
    var captured = new ByteArrayOutputStream();
    try (var print = new PrintStream(captured, true, StandardCharsets.UTF_8)) {
      System.setOut(print);
      System.setErr(print);
      int code = BerthCommand.run(arguments.toArray(String[]::new));
      // The served daemon is of the same process: its log lines are not the command's.
      return code
          + ": "
          + captured.toString(StandardCharsets.UTF_8).replaceAll("(?m)^\\S+ \\[\\S+] \\[.*\\R", "");
    } finally {
      System.setOut(out);
      System.setErr(err);
    }
  }
}
