package io.berth.bench;

import io.berth.bench.BenchException.Reason;
import io.berth.linux.Subprocess;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** Programs of this machine, found and run. */
final class Programs {
  private Programs() {}

  /** Runs to the end; a code other than 0 is an error. */
  static String run(Subprocess.Builder command, String what) throws InterruptedException {
    Subprocess.Result result = command.run();
    if (!result.ok()) {
      throw new BenchException(
          Reason.PROGRAM,
          "%s: exit code %d: %s%s"
              .formatted(what, result.exitCode(), result.err().strip(), result.out().strip()),
          null);
    }
    return result.out();
  }

  static String run(List<String> command, String what) throws InterruptedException {
    return run(Subprocess.command(command), what);
  }

  /**
   * @param program an absolute path, or a name looked up in the system's folders
   */
  static Path find(String program) {
    return Stream.of("", "/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/bin/")
        .map(folder -> Path.of(folder + program))
        .filter(path -> path.isAbsolute() && Files.isExecutable(path))
        .findFirst()
        .orElseThrow(() ->
            new BenchException(
                Reason.PROGRAM, "find " + program + ": not installed on this machine", null));
  }
}
