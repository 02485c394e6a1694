package io.berth.cni;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.function.BooleanSupplier;
import org.assertj.core.api.Assertions;
import org.junit.jupiter.api.Assumptions;

/**
 * What a test can't do without: missing, it fails in CI and is skipped elsewhere, with the thing
 * named.
 */
final class Needs {
  private Needs() {}

  static void program(String path) {
    require(Files.isExecutable(Path.of(path)), "program " + path);
  }

  static void root() {
    require("root".equals(System.getProperty("user.name")), "root");
  }

  private static void require(boolean present, String what) {
    if (!present && "true".equals(System.getenv("CI"))) {
      Assertions.fail("this test needs " + what);
    }
    Assumptions.assumeTrue(present, "this test needs " + what);
  }

  /** Waits until {@code condition} holds; fails when it doesn't within {@code limit}. */
  static void await(String what, Duration limit, BooleanSupplier condition)
      throws InterruptedException {
    long deadline = System.nanoTime() + limit.toNanos();
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() - deadline > 0) {
        Assertions.fail(what + " did not come true within " + limit.toMillis() + " ms");
      }
      Thread.sleep(5);
    }
  }
}
