package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.berth.linux.Subprocess;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * The community's own conformance suite, whole but for what {@code src/test/critest-skipped} names,
 * with each OCI runtime.
 */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class CritestIT {
  /** Below it the suite skips itself, as by conditions it does not find, and proves nothing. */
  private static final int PASSED_AT_LEAST = 85;

  private static final int STREAMS_AT_LEAST = 5;

  private static final int MESSAGE_LENGTH = 400;
  private static final Duration LIMIT = Duration.ofMinutes(8);

  private final DockerRegistry registry;

  CritestIT(DockerRegistry registry) {
    this.registry = registry;
  }

  /** One spec of ginkgo's report. */
  private record Spec(String name, String state, String failure) {
    static Spec of(JsonNode report) {
      Stream<JsonNode> words =
          Stream.concat(
              StreamSupport.stream(report.path("ContainerHierarchyTexts").spliterator(), false),
              Stream.of(report.path("LeafNodeText")));
      String failure = report.path("Failure").path("Message").asText();
      return new Spec(
          String.join(" ", words.map(JsonNode::asText).toList()),
          report.path("State").asText(),
          failure.substring(0, Math.min(MESSAGE_LENGTH, failure.length())).replace('\n', ' '));
    }
  }

  @Test
  @Tag("slow")
  void passesWithDebiansRunc() throws Exception {
    passes(BerthDaemon.with().runtime("runc", TestTools.installed("runc", "runc")));
  }

  @Test
  void passesWithCurrentRuncAndPlugins() throws Exception {
    passes(
        BerthDaemon.with()
            .runtime("runc", TestTools.built("runc"))
            .plugins(TestTools.built("cni")));
  }

  @Test
  @Tag("slow")
  void passesWithCrun() throws Exception {
    passes(
        BerthDaemon.with()
            .runtime("crun", TestTools.installed("crun", "crun"))
            .withoutUnifiedCgroups());
  }

  /** Of WebSocket the suite offers v5 alone. The other specs don't stream. */
  @Test
  void streamsOverWebSocket() throws Exception {
    passes(
        BerthDaemon.with().runtime("runc", TestTools.built("runc")),
        STREAMS_AT_LEAST,
        "-websocket-exec",
        "-websocket-attach",
        "-websocket-portforward",
        "--ginkgo.focus",
        "exec|attach|portforward");
  }

  private void passes(BerthDaemon.Builder node) throws Exception {
    passes(node, PASSED_AT_LEAST);
  }

  private void passes(BerthDaemon.Builder node, int atLeast, String... options) throws Exception {
    try (var daemon = node.registry(registry.address()).start()) {
      Path report = daemon.folder().resolve("critest.json");
      Subprocess.Result run = Commands.attempt(command(daemon, report, options), LIMIT);
      List<Spec> specs = Files.exists(report) ? specs(report) : List.of();

      assertThat(specs)
          .as("critest exits with %s: %s", run.exitCode(), tail(run.out() + run.err()))
          .filteredOn(spec -> !List.of("passed", "skipped", "pending").contains(spec.state()))
          .as("specs that failed")
          .isEmpty();
      assertThat(specs)
          .filteredOn(spec -> spec.state().equals("passed"))
          .hasSizeGreaterThanOrEqualTo(atLeast);
      assertThat(run.exitCode()).as(tail(run.out() + run.err())).isZero();
    }
  }

  private static List<String> command(BerthDaemon daemon, Path report, String... options)
      throws IOException {
    String endpoint = "unix://" + daemon.socket();
    var command =
        new ArrayList<>(
            List.of(
                TestTools.built("critest").toString(),
                "--runtime-endpoint",
                endpoint,
                "--image-endpoint",
                endpoint,
                "--ginkgo.no-color",
                "--ginkgo.json-report",
                report.toString()));
    command.addAll(List.of(options));
    for (String skipped : skipped()) {
      command.addAll(List.of("--ginkgo.skip", skipped));
    }
    return daemon.inItsMounts(command);
  }

  private static List<String> skipped() throws IOException {
    return Files.readAllLines(TestTools.repository("src/test/critest-skipped")).stream()
        .filter(line -> !line.isBlank() && !line.startsWith("#"))
        .toList();
  }

  private static List<Spec> specs(Path report) throws IOException {
    return StreamSupport.stream(
            new JsonMapper().readTree(report.toFile()).path(0).path("SpecReports").spliterator(),
            false)
        .map(Spec::of)
        .toList();
  }

  private static String tail(String text) {
    return text.substring(Math.max(0, text.length() - 4000));
  }
}
