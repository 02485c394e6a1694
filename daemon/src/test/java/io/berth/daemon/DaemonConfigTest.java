package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.berth.daemon.DaemonConfig.CgroupDriverSetting;
import io.berth.daemon.DaemonConfig.RuntimeType;
import io.berth.image.ImageGc;
import io.berth.image.Scrubber;
import io.berth.image.TransferSettings;
import io.berth.image.UnpackLimits;
import io.berth.oci.RuntimeSpec.Rlimit;
import io.berth.runtime.HandlerPolicy;
import io.berth.runtime.SpecSettings;
import io.berth.streaming.StreamingSettings;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.slf4j.event.Level;

class DaemonConfigTest {
  private static final DaemonConfig DEFAULTS =
      new DaemonConfig(
          new DaemonConfig.Server(
              Path.of("/run/berth/berth.sock"),
              Optional.empty(),
              Duration.ofSeconds(10),
              Duration.ofMinutes(2)),
          new DaemonConfig.State(Path.of("/run/berth"), Path.of("/var/lib/berth")),
          new DaemonConfig.Log(Level.INFO),
          new DaemonConfig.Metrics(Optional.empty()),
          new DaemonConfig.Tracing(Optional.empty()),
          new DaemonConfig.Recorder(ByteSize.ofMiB(4)),
          new DaemonConfig.Watchdog(
              Duration.ofSeconds(30),
              Map.of(
                  "manifest", Duration.ofMinutes(2),
                  "layers", Duration.ofMinutes(15),
                  "layer", Duration.ofMinutes(15),
                  "unpack", Duration.ofMinutes(15),
                  "fetch", Duration.ofMinutes(2),
                  "command", Duration.ofMinutes(15),
                  "containers", Duration.ofMinutes(5),
                  "grace", Duration.ofMinutes(15))),
          new DaemonConfig.Containers(
              "runc",
              CgroupDriverSetting.AUTO,
              new Executable("conmon"),
              new Executable("catatonit"),
              ByteSize.ofMiB(16),
              0,
              true,
              new SpecSettings(
                  List.of(new Rlimit("RLIMIT_NOFILE", 524288, 1024)),
                  List.of(Path.of("/etc/cdi"), Path.of("/var/run/cdi")),
                  List.of(
                      Path.of("/usr/share/containers/oci/hooks.d"),
                      Path.of("/etc/containers/oci/hooks.d")),
                  Path.of("/etc/berth/blockio.yaml"),
                  false)),
          Map.of(
              "runc",
              new DaemonConfig.RuntimeHandler(
                  new Executable("runc"),
                  RuntimeType.RUNC,
                  Path.of("/run/berth/runtimes/runc"),
                  Map.of(),
                  HandlerPolicy.STRICT),
              "crun",
              new DaemonConfig.RuntimeHandler(
                  new Executable("crun"),
                  RuntimeType.CRUN,
                  Path.of("/run/berth/runtimes/crun"),
                  Map.of(),
                  HandlerPolicy.STRICT)),
          new DaemonConfig.Cni(
              Path.of("/etc/cni/net.d"),
              List.of(
                  Path.of("/opt/cni/bin"), Path.of("/usr/lib/cni"), Path.of("/usr/libexec/cni")),
              Path.of("/var/lib/cni"),
              Duration.ofMinutes(1),
              Duration.ofSeconds(10)),
          new DaemonConfig.Images(
              Path.of("/etc/berth/certs.d"),
              List.of(Path.of("/etc/berth/auth.json"), Path.of("/root/.docker/config.json")),
              Optional.empty(),
              List.of(),
              6,
              TransferSettings.DEFAULT,
              ByteSize.ofMiB(8),
              Path.of("/var/lib/berth/preload"),
              Path.of("/etc/berth/policy.json"),
              Path.of("/etc/berth/policies"),
              Path.of("/etc/berth/registries.d"),
              List.of()),
          new StreamingSettings(
              new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
              Optional.empty(),
              Duration.ofHours(4),
              Duration.ofSeconds(30),
              Duration.ofMinutes(1),
              1000),
          new DaemonConfig.Logs(new ByteSize(0), 5),
          new Scrubber.ScrubSettings(true, Duration.ZERO, 64L << 20, true),
          new ImageGc.Settings(
              0, 80, Duration.ofMinutes(2), Duration.ofMinutes(1), Duration.ofMinutes(10)),
          UnpackLimits.DEFAULT);

  @TempDir Path folder;
  private Path file;

  @BeforeEach
  void nameTheFile() {
    file = folder.resolve("config.toml");
  }

  @Test
  void everyDefaultIsPinned() throws IOException {
    assertThat(load("")).isEqualTo(DEFAULTS);
  }

  @Test
  void theCommentedDefaultFileIsItselfValid() throws IOException {
    assertThat(load(ConfigLoader.defaultText())).isEqualTo(DEFAULTS);
  }

  @Test
  void everyDefaultKeyIsCommented() {
    List<String> lines = ConfigLoader.defaultText().lines().toList();
    // A key may share the comment of the key or table right above it.
    for (int i = 0; i < lines.size(); i++) {
      if (lines.get(i).matches("[a-z_]+ = .*")) {
        int above = i - 1;
        while (lines.get(above).matches("[a-z_]+ = .*|\\[.*]")) {
          above--;
        }
        assertThat(lines.get(above))
            .as("comment above line %s: %s", i + 1, lines.get(i))
            .matches("#.*|");
      }
    }
  }

  /// Every key of the default file, misspelt: unknown, with its line and the right name.
  @ParameterizedTest
  @MethodSource("keyLines")
  void aMisspeltKeyIsFatalWithLineAndSuggestion(int index, String line) throws IOException {
    String key = line.substring(0, line.indexOf(' '));
    List<ConfigMistake> mistakes = mistakesOf(withLine(index, line.replaceFirst(key, key + "x")));
    assertThat(mistakes).hasSize(1);
    assertThat(mistakes.getFirst().toString())
        .startsWith(file + ":" + (index + 1) + ": ")
        .contains(key + "x: unknown key, did you mean \"" + key + "\"?");
  }

  /// Every key of the default file with a value of another type.
  @ParameterizedTest
  @MethodSource("keyLines")
  void aWrongTypeIsFatalWithLine(int index, String line) throws IOException {
    String key = line.substring(0, line.indexOf(' '));
    String wrong = line.matches(".* = (true|false)") ? "17" : "true";
    List<ConfigMistake> mistakes = mistakesOf(withLine(index, key + " = " + wrong));
    assertThat(mistakes).hasSize(1);
    assertThat(mistakes.getFirst().line()).isEqualTo(index + 1);
    assertThat(mistakes.getFirst().text()).contains(key + ": must be ").contains("not " + wrong);
  }

  static Stream<Object[]> keyLines() {
    List<String> lines = ConfigLoader.defaultText().lines().toList();
    var keys = new ArrayList<Object[]>();
    for (int i = 0; i < lines.size(); i++) {
      if (lines.get(i).matches("[a-z_]+ = .*")) {
        keys.add(new Object[] {i, lines.get(i)});
      }
    }
    assertThat(keys).hasSizeGreaterThan(20);
    return keys.stream();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "server.socket = \"run/berth.sock\" | must be an absolute path",
        "server.shutdown_grace = \"10\" | a duration is a whole number and a unit",
        "server.shutdown_grace = \"11m\" | must be between 0s and 600s",
        "containers.pids_limit = -1 | must be a whole number from 0 to 4194304, not -1",
        "containers.exec_output_limit = \"17MiB\" | must be between 1KiB and 16MiB",
        "containers.exec_output_limit = \"16MB\" | a size is a whole number and a unit",
        "containers.cgroup_driver = \"cgroupv2\" | must be one of \"auto\", \"cgroupfs\", \"systemd\"",
        "containers.conmon = \"bin/conmon\" | a program is an absolute path or a bare name",
        "containers.default_runtime = \"kata\" | \"kata\" is not among the runtimes",
        "images.proxy = \"socks5://a.example\" | must be of the form http://[USER:PASSWORD@]HOST",
        "images.parallel_layers = 0 | must be a whole number from 1 to 64",
        "cni.bin_dirs = [] | must be a list of absolute paths",
        "cni.bin_dirs = [\"bin\"] | must be an absolute path",
        "metrics.address = \"localhost\" | must be an IP address and a port",
        "tracing.endpoint = \"127.0.0.1:4318\" | must be an address such as \"http://",
        "log.level = \"warning\" | must be one of",
        "cni = 5 | must be a table",
        "runtimes.kata.type = \"oci\" | the key \"path\" is missing",
      })
  void anImpossibleValueIsFatalWithLineAndWhatWasMeant(String line, String text)
      throws IOException {
    List<ConfigMistake> mistakes = mistakesOf("# a comment\n\n" + line + "\n");
    assertThat(mistakes).hasSize(1);
    assertThat(mistakes.getFirst().line()).isEqualTo(3);
    assertThat(mistakes.getFirst().text()).contains(text);
  }

  @Test
  void allMistakesOfAllFilesAreReportedAtOnce() throws IOException {
    Path parts = Files.createDirectory(folder.resolve("config.d"));
    Path first = Files.writeString(parts.resolve("10-a.toml"), "[log]\nlevel = 3\ncolour = true\n");
    Path second = Files.writeString(parts.resolve("20-b.toml"), "[log\n");
    List<ConfigMistake> mistakes =
        mistakesOf("[cni]\nbin_dirs = [\n  \"/opt\",\n]\npaths = 1\n\n[imges]\n");
    assertThat(mistakes)
        .extracting(ConfigMistake::file, ConfigMistake::line)
        .containsExactly(
            org.assertj.core.groups.Tuple.tuple(first, 2),
            org.assertj.core.groups.Tuple.tuple(first, 3),
            org.assertj.core.groups.Tuple.tuple(second, 1),
            org.assertj.core.groups.Tuple.tuple(file, 5),
            org.assertj.core.groups.Tuple.tuple(file, 7));
    assertThat(mistakes.getLast().text()).contains("did you mean \"images\"?");
  }

  @Test
  void aKeyInTheWrongTableIsSentToTheRightOne() throws IOException {
    assertThat(mistakesOf("[server]\nparallel_layers = 4\n").getFirst().text())
        .contains("did you mean \"parallel_layers\" in the table [images]?");
  }

  @Test
  void laterFilesWinKeyByKey() throws IOException {
    Path parts = Files.createDirectory(folder.resolve("config.d"));
    Files.writeString(parts.resolve("20.toml"), "images.parallel_layers = 8\n");
    Files.writeString(parts.resolve("10.toml"), "images.parallel_layers = 7\nlog.level='debug'\n");
    Files.writeString(parts.resolve("30.toml.bak"), "not read");
    DaemonConfig config =
        load(
            """
            [images]
            parallel_layers = 5
            preload_dir = "/srv/images"
            [metrics]
            address = "127.0.0.1:9480"
            [server]
            group = "kube"
            shutdown_grace = "1m30s"
            """);
    assertThat(config.images().parallelLayers()).isEqualTo(8);
    assertThat(config.images().preloadDir()).isEqualTo(Path.of("/srv/images"));
    assertThat(config.log().level()).isEqualTo(Level.DEBUG);
    assertThat(config.metrics().address()).hasToString("Optional[/127.0.0.1:9480]");
    assertThat(config.server().group()).contains("kube");
    assertThat(config.server().shutdownGrace()).isEqualTo(Duration.ofSeconds(90));
    assertThat(config.cni()).isEqualTo(DEFAULTS.cni());
  }

  @Test
  void anotherRuntimeNeedsNoMoreThanItsPath() throws IOException {
    DaemonConfig config =
        load("state.run_dir = \"/run/other\"\n[runtimes.youki]\npath = \"/usr/local/bin/youki\"\n");
    assertThat(config.runtimes().get("youki"))
        .isEqualTo(
            new DaemonConfig.RuntimeHandler(
                new Executable("/usr/local/bin/youki"),
                RuntimeType.OCI,
                Path.of("/run/other/runtimes/youki"),
                Map.of(),
                HandlerPolicy.STRICT));
  }

  @Test
  void aHandlersPodsGetMoreOnlyWhereItsTableSaysSo() throws IOException {
    DaemonConfig config =
        load(
            """
            [runtimes.kata]
            path = "/usr/bin/kata-runtime"
            environment = { KATA_CONF_FILE = "/etc/kata.toml" }
            allowed_annotations = ["io.katacontainers.*"]
            privileged_without_host_devices = true
            """);
    assertThat(config.runtimes().get("kata"))
        .isEqualTo(
            new DaemonConfig.RuntimeHandler(
                new Executable("/usr/bin/kata-runtime"),
                RuntimeType.OCI,
                Path.of("/run/berth/runtimes/kata"),
                Map.of("KATA_CONF_FILE", "/etc/kata.toml"),
                new HandlerPolicy(List.of("io.katacontainers.*"), true)));
    assertThat(
            mistakesOf(
                """
                [runtimes.kata]
                path = "kata-runtime"
                allowed_annotations = "io.katacontainers.*"
                privileged_without_host_devices = "yes"
                environment = { A = 1 }
                """))
        .map(ConfigMistake::toString)
        .satisfiesExactlyInAnyOrder(
            m -> assertThat(m).contains("allowed_annotations: must be a list of strings"),
            m -> assertThat(m).contains("privileged_without_host_devices: must be true or false"),
            m -> assertThat(m).contains("environment.A: must be a string in quotes"));
  }

  @Test
  void limitsThatAreNoneAreMistakes() throws IOException {
    for (String limit : List.of("files=1", "nofile", "nofile=2:1", "nofile=-1:5", "nofile=x")) {
      assertThat(mistakesOf("containers.ulimits = [\"" + limit + "\"]\n"))
          .singleElement()
          .asString()
          .contains("containers.ulimits: a", limit);
    }
  }

  @Test
  void aFileAskedForByNameMustExist() {
    Path missing = folder.resolve("missing.toml");
    ConfigException failure =
        catchThrowableOfType(ConfigException.class, () -> ConfigLoader.load(missing));
    assertThat(failure).hasMessageContaining(missing + ": there is no such file");
  }

  private DaemonConfig load(String text) throws IOException {
    Files.writeString(file, text);
    return ConfigLoader.load(file);
  }

  private List<ConfigMistake> mistakesOf(String text) throws IOException {
    Files.writeString(file, text);
    ConfigException failure =
        catchThrowableOfType(ConfigException.class, () -> ConfigLoader.load(file));
    assertThat(failure).as("the configuration is refused").isNotNull();
    return failure.mistakes();
  }

  private static String withLine(int index, String replacement) {
    String[] lines = ConfigLoader.defaultText().split("\n", -1);
    lines[index] = replacement;
    return String.join("\n", Arrays.asList(lines));
  }
}
