package io.berth.daemon;

import io.berth.admin.v1.StoreImage;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// Removal on request, which even a pinned image obeys; one in use has to be forced.
@Command(
    name = "remove",
    aliases = "rm",
    description = "Removes images with all their names. Containers of theirs go on.",
    mixinStandardHelpOptions = true)
final class ImageRemoveCommand implements Callable<Integer> {
  @Parameters(
      arity = "1..*",
      paramLabel = "IMAGE",
      description = "Names, ids or the beginnings of ids.")
  List<String> images = new ArrayList<>();

  @Option(
      names = {"-f", "--force"},
      description = "Also images in use; their layers stay until nobody uses them.")
  boolean force;

  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() {
    int code = ExitCode.OK;
    try (var client = new StoreClient(daemon.socket())) {
      for (String name : images) {
        try {
          remove(client, name);
        } catch (DaemonException failure) {
          if (failure.reason() == DaemonException.Reason.UNREACHABLE) {
            throw failure;
          }
          System.err.println("berth: " + failure.getMessage());
          code = ExitCode.SOFTWARE;
        }
      }
    }
    return code;
  }

  private void remove(StoreClient client, String name) {
    StoreImage image = client.inspect(name).getImage();
    if (image.getUsedByCount() > 0 && !force) {
      throw new DaemonException(
          DaemonException.Reason.REFUSED,
          "remove image "
              + name
              + ": it is used by "
              + String.join(", ", image.getUsedByList())
              + "; remove these first, or add --force",
          null);
    }
    client.remove(image.getId());
    Stream.concat(image.getTagsList().stream(), image.getDigestsList().stream())
        .forEach(gone -> System.out.println("removed " + gone));
    System.out.println("removed " + image.getId());
  }
}
