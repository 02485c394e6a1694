package io.berth.e2e;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import java.util.stream.Stream;
import org.opentest4j.TestAbortedException;

/**
 * Finds the programs that tests drive. A test whose tool is missing fails under {@code CI=true} and
 * is skipped elsewhere, with the tool and the way to get it named.
 */
final class TestTools {
  private static final Path DEFAULT_FOLDER = Path.of("/var/cache/berth-test/bin");

  private TestTools() {}

  /**
   * A tool built by {@code src/test/go/build}, such as {@code crictl} or {@code cni/bridge}. Its
   * folder is the system property or else the environment variable {@code BERTH_TEST_BIN}, by
   * default {@code /var/cache/berth-test/bin}.
   */
  static Path built(String tool) {
    Path path = folder().resolve(tool);
    if (!Files.isExecutable(path)) {
      throw missing(path + " is missing: run src/test/go/build " + folder());
    }
    return path;
  }

  /** A tool from a Debian package, looked up as a shell does, and in the system's own folders. */
  static Path installed(String tool, String debianPackage) {
    String searchPath = Objects.requireNonNullElse(System.getenv("PATH"), "");
    return Stream.concat(
            Stream.of(searchPath.split(":")), Stream.of("/usr/sbin", "/usr/bin", "/sbin", "/bin"))
        .filter(folder -> folder.startsWith("/"))
        .map(folder -> Path.of(folder, tool))
        .filter(Files::isExecutable)
        .findFirst()
        .orElseThrow(() -> missing(tool + " is missing: apt-get install " + debianPackage));
  }

  /** A file of this repository, by its path from the root. */
  static Path repository(String path) {
    // Surefire starts tests in the module's folder, src/test; an editor may start them at the root.
    Path here = Path.of("").toAbsolutePath();
    Path root = here.endsWith("src/test") ? here.resolve("../..").normalize() : here;
    return root.resolve(path);
  }

  /**
   * For {@code throw missing(…)} where a test can't run here.
   *
   * @param reason what is missing, and how to get it
   */
  static RuntimeException missing(String reason) {
    if ("true".equals(System.getenv("CI"))) {
      throw new AssertionError(reason);
    }
    return new TestAbortedException(reason);
  }

  private static Path folder() {
    String property = System.getProperty("BERTH_TEST_BIN", "");
    String set =
        property.isEmpty()
            ? Objects.requireNonNullElse(System.getenv("BERTH_TEST_BIN"), "")
            : property;
    return set.isEmpty() ? DEFAULT_FOLDER : Path.of(set);
  }
}
