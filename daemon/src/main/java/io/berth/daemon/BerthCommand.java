package io.berth.daemon;

import io.berth.image.RegistryHosts;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// The administrator's command. Each subcommand loads what it needs and no more: `config` and
/// `doctor` work without a daemon and without gRPC.
@Command(
    name = "berth",
    description =
        "Administers Berth, the container runtime. Making and ending pods is crictl's business.",
    mixinStandardHelpOptions = true,
    versionProvider = BerthVersion.class,
    subcommands = {
      BerthCommand.Config.class,
      BerthCommand.DoctorCommand.class,
      BerthCommand.Debts.class,
      BerthCommand.Ops.class,
      ExplainCommand.class,
      TopCommand.class,
      StatsCommand.class,
      EventsCommand.class,
      InspectCommand.class,
      BerthCommand.Import.class,
      ExportCommand.class,
      ImageCommand.class,
      LogsCommand.class,
      GcCommand.class,
      PullCommand.class,
      PullsCommand.class,
      CompletionCommand.class,
      RegistryCommand.class,
      BerthCommand.VersionCommand.class
    },
    synopsisSubcommandLabel = "COMMAND")
public final class BerthCommand {
  public static void main(String[] args) {
    // A library's log line has no place in a command's output; errors alone remain.
    System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "error");
    System.exit(run(args));
  }

  static int run(String... args) {
    var command = new CommandLine(new BerthCommand());
    command.setExecutionExceptionHandler((failure, line, parsed) -> {
      line.getErr().println("berth: " + failure.getMessage());
      return ExitCode.SOFTWARE;
    });
    return command.execute(args);
  }

  enum Format {
    text,
    json
  }

  /// How to print.
  static final class Output {
    @Option(
        names = {"-o", "--output"},
        paramLabel = "FORMAT",
        description = "${COMPLETION-CANDIDATES}; default: ${DEFAULT-VALUE}.")
    Format format = Format.text;

    boolean json() {
      return format == Format.json;
    }
  }

  /// Which configuration.
  static final class ConfigFile {
    @Option(
        names = "--config",
        paramLabel = "FILE",
        description = "Default: ${DEFAULT-VALUE}; config.d/*.toml beside it is read too.")
    Path file = ConfigLoader.DEFAULT_FILE;
  }

  /// Which daemon.
  static final class Daemon {
    @Option(
        names = "--socket",
        paramLabel = "PATH",
        defaultValue = "${env:BERTH_SOCKET}",
        description = "berthd's socket. Default: $BERTH_SOCKET, else server.socket of the config.")
    @Nullable Path socket;

    @Mixin ConfigFile config = new ConfigFile();

    Path socket() {
      return socket != null ? socket : ConfigLoader.load(config.file).server().socket();
    }
  }

  @Command(
      name = "config",
      description = "Shows and checks the configuration.",
      mixinStandardHelpOptions = true)
  static final class Config {
    @Command(
        name = "default",
        description = "Prints every key with its meaning and its built-in value.",
        mixinStandardHelpOptions = true)
    int printDefault() {
      System.out.print(ConfigLoader.defaultText());
      return ExitCode.OK;
    }

    @Command(
        name = "check",
        description =
            "Finds every mistake in FILE, config.d/*.toml beside it, and hosts.toml of registries.",
        mixinStandardHelpOptions = true)
    int check(
        @Parameters(
                arity = "0..1",
                paramLabel = "FILE",
                defaultValue = "/etc/berth/config.toml",
                description = "Default: ${DEFAULT-VALUE}.")
            Path file) {
      try {
        DaemonConfig config = ConfigLoader.load(file);
        List<String> registries = new RegistryHosts(config.images().registryConfigDir()).mistakes();
        if (!registries.isEmpty()) {
          registries.forEach(System.err::println);
          return ExitCode.SOFTWARE;
        }
        System.out.println("the configuration is in order");
        return ExitCode.OK;
      } catch (ConfigException mistakes) {
        mistakes.mistakes().forEach(System.err::println);
        return ExitCode.SOFTWARE;
      }
    }
  }

  @Command(
      name = "doctor",
      description = "Says what this machine offers to pods, and what to do about what is missing.",
      mixinStandardHelpOptions = true,
      exitCodeListHeading = "Exit codes:%n",
      exitCodeList = {"0:pods can run", "1:something fails"})
  static final class DoctorCommand implements Callable<Integer> {
    @Mixin Output output = new Output();
    @Mixin ConfigFile config = new ConfigFile();

    @Override
    public Integer call() throws InterruptedException {
      DaemonConfig settings = ConfigLoader.load(config.file);
      return DoctorReport.print(
          new Doctor(Path.of("/"), settings, Programs.ofThisMachine()).examine(), output.json());
    }
  }

  @Command(
      name = "debts",
      description = "Lists clean-up that failed and is being retried.",
      mixinStandardHelpOptions = true)
  static final class Debts implements Callable<Integer> {
    @Mixin Output output = new Output();
    @Mixin Daemon daemon = new Daemon();

    @Override
    public Integer call() {
      try (var client = new AdminClient(daemon.socket())) {
        client.debts(output.json());
      }
      return ExitCode.OK;
    }
  }

  @Command(
      name = "ops",
      description = "Lists what runs now: for how long, in which stage, waiting for which process.",
      mixinStandardHelpOptions = true)
  static final class Ops implements Callable<Integer> {
    @Parameters(
        arity = "0..1",
        paramLabel = "OBJECT",
        description = "Beginning of a pod's or container's id, NAMESPACE/NAME, or an image.")
    String object = "";

    @Option(
        names = {"-a", "--all"},
        description = "The latest finished operations, too.")
    boolean all;

    @Mixin Output output = new Output();
    @Mixin Daemon daemon = new Daemon();

    @Override
    public Integer call() {
      try (var client = new AdminClient(daemon.socket())) {
        client.operations(object, all, output.json());
      }
      return ExitCode.OK;
    }
  }

  @Command(
      name = "import",
      description = "Takes in an OCI or docker archive, for machines without a registry.",
      mixinStandardHelpOptions = true)
  static final class Import implements Callable<Integer> {
    @Parameters(paramLabel = "FILE", description = "The archive, or - for standard input.")
    String file = "-";

    @Option(
        names = "--name",
        paramLabel = "REFERENCE",
        description = "For an image to which the archive gives no name.")
    String name = "";

    @Mixin Daemon daemon = new Daemon();

    @Override
    public Integer call() throws Exception {
      try (var client = new AdminClient(daemon.socket())) {
        client.importArchive(file, name);
      }
      return ExitCode.OK;
    }
  }

  @Command(
      name = "version",
      description = "Prints the version of this command.",
      mixinStandardHelpOptions = true)
  static final class VersionCommand implements Callable<Integer> {
    @Override
    public Integer call() {
      System.out.println("berth " + BerthVersion.current());
      return ExitCode.OK;
    }
  }
}
