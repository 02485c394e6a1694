package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.Stages;
import io.grpc.Status;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class FlightRecorderTest {
  private static final ByteSize SMALL = new ByteSize(256 << 10);
  private static final Instant START = Instant.parse("2026-11-01T10:00:00.000000001Z");
  @TempDir private Path folder;

  private static Subject pod(String name) {
    return new Subject(name.repeat(64).substring(0, 64), "ns/" + name, "uid-" + name, "");
  }

  private static Operation operation(
      String id, Subject subject, Status.@Nullable Code code, String error) {
    return new Operation(
        id,
        "RunPodSandbox",
        subject.podName(),
        subject,
        START.plusSeconds(Long.parseLong(id, 16)),
        Duration.ofMillis(1500),
        code,
        error,
        "",
        List.of(
            new Stages.Stage(
                "network",
                "",
                OperationJson.nanos(START) + 5,
                Duration.ofMillis(1400),
                code == null,
                error.isEmpty() ? null : error,
                0,
                -1,
                new Stages.Waited("bridge", 4711, "bridge > sleep"))));
  }

  @Test
  void aPodIsFoundByNameWithAndWithoutNamespaceAndByTheBeginningOfItsId() throws Exception {
    Operation done = operation("1", pod("a"), Status.Code.OK, "");
    try (var recorder = FlightRecorder.start(folder, SMALL)) {
      recorder.ended(done);
      recorder.ended(operation("2", pod("b"), Status.Code.OK, ""));
      assertThat(recorder.of("a")).containsExactly(done);
      assertThat(recorder.of("ns/a")).containsExactly(done);
      assertThat(recorder.of("aaaaaaaa")).containsExactly(done);
      assertThat(recorder.of("c")).isEmpty();
    }
  }

  @Test
  void theEndOfAnOperationReplacesItsBeginningAndOutlivesTheDaemon() throws Exception {
    Operation failed =
        operation("1", pod("a"), Status.Code.UNKNOWN, "bridge: no address left: «\"»\n");
    try (var recorder = FlightRecorder.start(folder, SMALL)) {
      recorder.began(operation("1", pod("a"), null, ""));
      recorder.ended(failed);
      recorder.began(operation("2", pod("a"), null, ""));
    }
    try (var next = FlightRecorder.start(folder, SMALL)) {
      next.ended(operation("3", pod("a"), Status.Code.OK, ""));
      assertThat(next.of("a")).extracting(Operation::requestId).containsExactly("1", "2", "3");
      assertThat(next.of("a").getFirst()).isEqualTo(failed);
    }
    assertThat(PodHistory.read(folder, "a").get(1))
        .as("nobody runs what a killed daemon ran")
        .satisfies(lost -> {
          assertThat(lost.code()).isEqualTo(Status.Code.ABORTED);
          assertThat(lost.error()).contains("berthd ended");
        });
  }

  @Test
  void theFileKeepsItsSizeAndTheLatestWin() throws Exception {
    try (var recorder = FlightRecorder.start(folder, SMALL)) {
      for (int i = 0; i < 3000; i++) {
        recorder.ended(operation(Integer.toHexString(i), pod("a"), Status.Code.OK, ""));
        if (i % 500 == 0) {
          var _ = recorder.of("a"); // waits until all is written
        }
      }
      assertThat(recorder.of("a"))
          .hasSizeLessThan(3000)
          .extracting(Operation::requestId)
          .contains(Integer.toHexString(2999), Integer.toHexString(2998))
          .doesNotContain("0");
    }
    assertThat(folder.resolve(FlightRecorder.FILE)).hasSize(SMALL.bytes());
    try (var smaller = FlightRecorder.start(folder, new ByteSize(SMALL.bytes() / 2))) {
      smaller.ended(operation("ffff", pod("a"), Status.Code.OK, ""));
      assertThat(smaller.of("a")).extracting(Operation::requestId).contains("ffff");
    }
    assertThat(folder.resolve(FlightRecorder.FILE)).hasSize(SMALL.bytes() / 2);
  }

  @Test
  void tornAndForeignLinesAreIgnored() throws Exception {
    Operation done = operation("1", pod("a"), Status.Code.OK, "");
    String line = new String(OperationJson.write(1, done), StandardCharsets.UTF_8);
    Files.writeString(
        folder.resolve(FlightRecorder.FILE),
        line.substring(40)
            + "\n"
            + "garbage uid-a\n"
            + line.replace("\"method\"", "\"of-a-later-version\":[{}],\"method\"")
            + "\n{\"n\":9,\"id\":\"9\",\"method\":\"RunPodSandbox\",\"uid\":\"uid-a\",\"na\n");
    assertThat(FlightRecorder.read(folder.resolve(FlightRecorder.FILE), "a")).containsExactly(done);
    try (var recorder = FlightRecorder.start(folder, SMALL)) {
      recorder.ended(operation("2", pod("a"), Status.Code.OK, ""));
      assertThat(recorder.of("a")).extracting(Operation::requestId).contains("1", "2");
    }
  }

  @Test
  void probesAreRecordedOnlyWhenTheyFailOrTakeLong() throws Exception {
    try (var recorder = FlightRecorder.start(folder, SMALL)) {
      recorder.began(probe("1", Duration.ZERO, null));
      recorder.ended(probe("1", Duration.ofMillis(20), Status.Code.OK));
      recorder.ended(probe("2", Duration.ofMillis(20), Status.Code.DEADLINE_EXCEEDED));
      recorder.ended(probe("3", Duration.ofSeconds(20), Status.Code.OK));
      assertThat(recorder.of("a")).extracting(Operation::requestId).containsExactly("2", "3");
    }
  }

  private static Operation probe(String id, Duration elapsed, Status.@Nullable Code code) {
    return new Operation(
        id,
        "ExecSync",
        "",
        pod("a"),
        START.plusSeconds(Long.parseLong(id)),
        elapsed,
        code,
        "",
        "",
        List.of());
  }
}
