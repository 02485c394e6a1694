package io.berth.daemon;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// What `berth` knows of images. Pulling is `berth pull`.
@Command(
    name = "image",
    description = "Lists, explains and removes images.",
    mixinStandardHelpOptions = true,
    subcommands = {
      ImageListCommand.class,
      ImageInspectCommand.class,
      ImageHistoryCommand.class,
      ImageRemoveCommand.class,
      ImageDuCommand.class,
      ImagePruneCommand.class,
      ImageVerifyCommand.class,
      ImageCommand.Trust.class
    },
    synopsisSubcommandLabel = "COMMAND")
final class ImageCommand {
  private ImageCommand() {}

  @Command(
      name = "trust",
      description = "Says whether the trust policy lets an image be used, and by which rule.",
      mixinStandardHelpOptions = true,
      exitCodeListHeading = "Exit codes:%n",
      exitCodeList = {"0:it may be used", "1:it may not"})
  static final class Trust implements Callable<Integer> {
    @Parameters(paramLabel = "IMAGE", description = "A name, or the id of an image that is here.")
    String image = "";

    @Option(
        names = "--namespace",
        paramLabel = "NAMESPACE",
        description = "Of the pod; it may have a policy of its own.")
    String namespace = "";

    @Mixin BerthCommand.Output output = new BerthCommand.Output();
    @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

    @Override
    public Integer call() {
      try (var client = new AdminClient(daemon.socket())) {
        return client.imageTrust(image, namespace, output.json()) ? ExitCode.OK : ExitCode.SOFTWARE;
      }
    }
  }
}
