package io.berth.daemon;

import io.berth.admin.v1.PullRequest;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `berth pull`: the daemon pulls, this command shows how far it is.
@Command(
    name = "pull",
    description = "Pulls an image and shows how far each layer is.",
    mixinStandardHelpOptions = true)
final class PullCommand implements Callable<Integer> {
  @Parameters(paramLabel = "REFERENCE", description = "The image, such as nginx:1.27.")
  String image = "";

  @Option(
      names = "--platform",
      paramLabel = "OS/ARCH[/VARIANT]",
      description = "Instead of this machine's, such as linux/arm64.")
  String platform = "";

  @Mixin BerthCommand.Output output = new BerthCommand.Output();
  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() throws InterruptedException {
    var request = PullRequest.newBuilder().setImage(image).setPlatform(platform).build();
    try (var client = new TransferClient(daemon.socket())) {
      client.pull(request, output.json());
    }
    return ExitCode.OK;
  }
}
