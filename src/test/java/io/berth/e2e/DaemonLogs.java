package io.berth.e2e;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.TestWatcher;

/**
 * Prints what the daemons said during a test that failed, whether the test or its class started
 * them. All logs stay in {@link #FOLDER}.
 */
final class DaemonLogs
    implements BeforeAllCallback, BeforeEachCallback, TestWatcher, AfterAllCallback {
  static final Path FOLDER = TestTools.repository("src/test/target/berthd");

  private static final ExtensionContext.Namespace OURS =
      ExtensionContext.Namespace.create(DaemonLogs.class);
  private static final int LINES = 120;

  @Override
  public void beforeAll(ExtensionContext context) {
    context.getStore(OURS).put("began", Instant.now());
  }

  @Override
  public void beforeEach(ExtensionContext context) {
    context.getStore(OURS).put("began", Instant.now());
  }

  @Override
  public void testFailed(ExtensionContext context, Throwable cause) {
    print(context);
  }

  @Override
  public void afterAll(ExtensionContext context) {
    if (context.getExecutionException().isPresent()) {
      print(context);
    }
  }

  private static void print(ExtensionContext context) {
    Instant began = context.getStore(OURS).get("began", Instant.class);
    if (began == null || Files.notExists(FOLDER)) {
      return;
    }
    try (Stream<Path> logs = Files.list(FOLDER)) {
      for (Path log : logs.toList()) {
        if (Files.getLastModifiedTime(log).compareTo(FileTime.from(began)) >= 0) {
          List<String> lines = Files.readAllLines(log);
          System.err.println("--- " + context.getDisplayName() + ", end of " + log);
          lines.stream().skip(Math.max(0, lines.size() - LINES)).forEach(System.err::println);
        }
      }
    } catch (IOException failure) {
      System.err.println("daemon logs can't be shown: " + failure);
    }
  }
}
