package io.berth.snapshot;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.assertj.core.api.Assertions;
import org.junit.jupiter.api.Assumptions;

/**
 * What a test can't do without: missing, it fails in CI and is skipped elsewhere, with the thing
 * named.
 */
final class Needs {
  private Needs() {}

  static void root() {
    require("root".equals(System.getProperty("user.name")), "root");
  }

  static void program(String name) {
    boolean there =
        Stream.of("/usr/sbin", "/usr/bin", "/sbin", "/bin")
            .anyMatch(folder -> Files.isExecutable(Path.of(folder, name)));
    require(there, "program " + name);
  }

  private static void require(boolean present, String what) {
    if (!present && "true".equals(System.getenv("CI"))) {
      Assertions.fail("this test needs " + what);
    }
    Assumptions.assumeTrue(present, "this test needs " + what);
  }
}
