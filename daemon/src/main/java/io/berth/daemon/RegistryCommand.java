package io.berth.daemon;

import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/// `berth registry`: where images come from.
@Command(
    name = "registry",
    description = "Tells where images come from.",
    mixinStandardHelpOptions = true,
    synopsisSubcommandLabel = "COMMAND")
final class RegistryCommand {
  @Command(
      name = "explain",
      description =
          "Prints the route that a pull would take: the hosts in order, which file and line named"
              + " each, whose credentials it gets, and what it answers now.",
      mixinStandardHelpOptions = true,
      exitCodeListHeading = "Exit codes:%n",
      exitCodeList = {"0:a host has the image", "1:none has it"})
  int explain(
      @Parameters(paramLabel = "REFERENCE", description = "The image, such as nginx:1.27.")
          String image,
      @Mixin BerthCommand.Output output,
      @Mixin BerthCommand.Daemon daemon)
      throws InterruptedException {
    try (var client = new TransferClient(daemon.socket())) {
      return client.explain(image, output.json()) ? ExitCode.OK : ExitCode.SOFTWARE;
    }
  }
}
