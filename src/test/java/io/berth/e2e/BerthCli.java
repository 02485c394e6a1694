package io.berth.e2e;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.berth.linux.Subprocess;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The administrator's command {@code berth} as it is delivered, pointed at one daemon. */
final class BerthCli {
  private static final Duration LIMIT = Duration.ofMinutes(2);
  private static final JsonMapper JSON = new JsonMapper();

  private final BerthDaemon daemon;

  BerthCli(BerthDaemon daemon) {
    this.daemon = daemon;
  }

  /**
   * @return what it prints
   * @throws AssertionError unless it succeeds
   */
  String run(String... arguments) throws InterruptedException {
    Subprocess.Result result = attempt(arguments);
    if (!result.ok()) {
      throw new AssertionError(
          "berth %s exits with %s: %s %s"
              .formatted(
                  String.join(" ", arguments), result.exitCode(), result.err(), result.out()));
    }
    return result.out();
  }

  /** Whatever its exit code. */
  Subprocess.Result attempt(String... arguments) throws InterruptedException {
    var command = new ArrayList<String>();
    command.add(BerthDaemon.distribution().resolve("berth").toString());
    command.addAll(List.of(arguments));
    command.addAll(List.of("--socket", daemon.socket().toString()));
    return Subprocess.command(command)
        .environment(
            Map.of(
                "PATH",
                "/usr/sbin:/usr/bin:/sbin:/bin",
                "BERTH_JAVA_HOME",
                System.getProperty("java.home")))
        .outputLimit(16 << 20)
        .run(LIMIT);
  }

  /** Adds {@code -o json} and reads the answer. */
  JsonNode json(String... arguments) throws InterruptedException {
    var all = new ArrayList<>(List.of(arguments));
    all.addAll(List.of("-o", "json"));
    String answer = run(all.toArray(String[]::new));
    try {
      return JSON.readTree(answer);
    } catch (IOException failure) {
      throw new AssertionError("berth " + all + " prints no JSON: " + answer, failure);
    }
  }
}
