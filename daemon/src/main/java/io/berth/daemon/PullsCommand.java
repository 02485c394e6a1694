package io.berth.daemon;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/// `berth pulls`: whoever began them.
@Command(
    name = "pulls",
    description = "Shows the pulls in flight: bytes, state, host and rate of each layer.",
    mixinStandardHelpOptions = true)
final class PullsCommand implements Callable<Integer> {
  @Option(
      names = {"-w", "--watch"},
      description = "Goes on until all have ended.")
  boolean watch;

  @Mixin BerthCommand.Output output = new BerthCommand.Output();
  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() throws InterruptedException {
    try (var client = new TransferClient(daemon.socket())) {
      client.pulls(watch, output.json());
    }
    return ExitCode.OK;
  }
}
