package io.berth.daemon;

import io.berth.linux.ErrnoException;
import io.berth.linux.Subprocess;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// The programs of this machine, as the doctor asks them.
interface Programs {
  Optional<Path> find(Executable program);

  /// Runs a program for what it prints, whatever its exit code; empty when it cannot be run or does
  /// not end within seconds.
  Optional<String> output(List<String> argv) throws InterruptedException;

  /// The real ones.
  static Programs ofThisMachine() {
    return new Programs() {
      @Override
      public Optional<Path> find(Executable program) {
        return program.find();
      }

      @Override
      public Optional<String> output(List<String> argv) throws InterruptedException {
        try {
          Subprocess.Result result =
              Subprocess.command(argv)
                  .environment(Map.of("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL", "C"))
                  .run(Duration.ofSeconds(5));
          return result.timedOut() ? Optional.empty() : Optional.of(result.out() + result.err());
        } catch (ErrnoException cannotBeRun) {
          return Optional.empty();
        }
      }
    };
  }
}
