package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
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
  void configCheckLooksIntoTheFilesOfRegistries() throws IOException {
    Path certs = folder.resolve("certs.d");
    for (String good : List.of("quay.io", "reg.example:5000", "reg.example_5001_")) {
      Files.writeString(
          Files.createDirectories(certs.resolve(good)).resolve("hosts.toml"),
          "[host.\"https://mirror.example\"]\n");
    }
    Path file =
        Files.writeString(
            folder.resolve("c.toml"), "images.registry_config_dir = \"" + certs + "\"\n");
    assertThat(berth("config", "check", file.toString())).startsWith("0: ");

    Path wrong = certs.resolve("reg.example:5000/hosts.toml");
    Files.writeString(wrong, "server = \"https://reg.example\"\nmirors = []\n");
    Path broken =
        Files.writeString(
            Files.createDirectories(certs.resolve("_default")).resolve("hosts.toml"), "server =\n");
    assertThat(berth("config", "check", file.toString()))
        .startsWith("1: registry configuration " + broken + ":1: ")
        .contains("registry configuration " + wrong + ":2: mirors");
  }

  @Test
  void versionIsTheBuilds() {
    assertThat(berth("version")).matches("0: berth \\d+\\.\\d+\\.\\d+\\R");
  }

  @Test
  void bashCompletesSubcommandsAndOptions() throws Exception {
    assertThat(completed("berth", "exp")).containsExactlyInAnyOrder("explain", "export");
    assertThat(completed("berth", "config", "")).contains("default", "check");
    assertThat(completed("berth", "ops", "--al")).containsExactly("--all");
    assertThat(completed("berth", "debts", "-o", "")).containsExactlyInAnyOrder("text", "json");
  }

  /// What bash proposes for the last word.
  private List<String> completed(String... words) throws IOException, InterruptedException {
    Path script = folder.resolve("completion");
    Files.writeString(script, berth("completion", "bash").replaceFirst("^0: ", ""));
    var command =
        new ArrayList<>(
            List.of(
                "bash",
                "-c",
                ". %s; COMP_WORDS=(\"${@}\"); COMP_CWORD=$(($# - 1)); _complete_berth;"
                        .formatted(script)
                    + " printf '%s\\n' \"${COMPREPLY[@]}\"",
                "bash"));
    command.addAll(List.of(words));
    Process bash =
        new ProcessBuilder(command)
            // There bash complains that nobody has pressed the tabulator.
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .redirectInput(ProcessBuilder.Redirect.from(new File("/dev/null")))
            .start();
    String proposed = new String(bash.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(bash.waitFor()).as(proposed).isZero();
    return proposed.lines().map(String::strip).toList();
  }

  @Test
  void fishIsToldOfSubcommandsOptionsAndValues() {
    assertThat(berth("completion", "fish").lines())
        .contains(
            "complete -c berth -n '__fish_use_subcommand' -a stats -d 'Shows what pods and their"
                + " containers use now'",
            "complete -c berth -n '__fish_seen_subcommand_from ops' -s a -l all -d 'The latest"
                + " finished operations, too'",
            "complete -c berth -n '__fish_seen_subcommand_from debts' -s o -l output -x -a 'text"
                + " json'",
            "complete -c berth -n '__fish_seen_subcommand_from config; and not"
                + " __fish_seen_subcommand_from check default' -a check -d 'Finds every mistake in"
                + " FILE, config.d/*.toml beside it, and hosts.toml of registries'");
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
