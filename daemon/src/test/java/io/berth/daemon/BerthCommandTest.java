package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// What works without a daemon.
class BerthCommandTest {
  @TempDir Path folder;

  @Test
  void configDefaultPrintsTheCommentedFile() {
    assertThat(berth("config", "default")).isEqualTo("0: " + ConfigLoader.defaultText());
  }

  @Test
  void configCheckPrintsEachMistakeOnItsLine() throws IOException {
    Path file = Files.writeString(folder.resolve("c.toml"), "[log]\nlevl = 1\nlevel = 2\n");
    assertThat(berth("config", "check", file.toString()))
        .isEqualTo(
            """
            1: %s:2: log.levl: unknown key, did you mean "level"?
            %s:3: log.level: must be a string in quotes, not 2
            """
                .formatted(file, file));
    Files.writeString(file, "log.level = \"debug\"\n");
    assertThat(berth("config", "check", file.toString())).startsWith("0: ");
  }

  @Test
  void versionIsTheBuilds() {
    assertThat(berth("version")).matches("0: berth \\d+\\.\\d+\\.\\d+\\R");
  }

  private static String berth(String... words) {
    PrintStream out = System.out;
    PrintStream err = System.err;
    var captured = new ByteArrayOutputStream();
    try (var print = new PrintStream(captured, true, StandardCharsets.UTF_8)) {
      System.setOut(print);
      System.setErr(print);
      int code = BerthCommand.run(words);
      return code + ": " + captured.toString(StandardCharsets.UTF_8);
    } finally {
      System.setOut(out);
      System.setErr(err);
    }
  }
}
