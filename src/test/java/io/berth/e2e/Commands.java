package io.berth.e2e;

import io.berth.linux.Subprocess;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** Programs that a test runs to their end; the first word is an absolute path. */
final class Commands {
  private static final Duration LIMIT = Duration.ofMinutes(2);
  private static final int OUTPUT_LIMIT = 32 << 20;
  private static final Map<String, String> ENVIRONMENT =
      Map.of(
          "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME", "/root");

  private Commands() {}

  /** Whatever its exit code. */
  static Subprocess.Result attempt(List<String> command) throws InterruptedException {
    return attempt(command, LIMIT);
  }

  static Subprocess.Result attempt(List<String> command, Duration limit)
      throws InterruptedException {
    return Subprocess.command(command)
        .environment(ENVIRONMENT)
        .outputLimit(OUTPUT_LIMIT)
        .run(limit);
  }

  /**
   * @return its standard output
   * @throws AssertionError unless it succeeds
   */
  static String run(List<String> command) throws InterruptedException {
    Subprocess.Result result = attempt(command);
    if (!result.ok()) {
      throw new AssertionError(
          "%s %s: %s %s"
              .formatted(
                  String.join(" ", command),
                  result.timedOut() ? "does not end" : "exits with " + result.exitCode(),
                  result.err().strip(),
                  result.out().strip()));
    }
    return result.out();
  }
}
