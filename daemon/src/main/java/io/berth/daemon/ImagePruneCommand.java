package io.berth.daemon;

import io.berth.admin.v1.PruneRequest;
import io.berth.admin.v1.PruneResponse;
import io.berth.admin.v1.StoreImage;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/// Removes what nobody uses.
@Command(
    name = "prune",
    description = "Removes images that no container and no pod uses; pinned ones stay.",
    mixinStandardHelpOptions = true)
final class ImagePruneCommand implements Callable<Integer> {
  @Option(names = "--dry-run", description = "Says what would go.")
  boolean dryRun;

  @Option(names = "--dangling", description = "Only images that no tag names.")
  boolean dangling;

  @Option(
      names = "--older-than",
      paramLabel = "DURATION",
      description = "Only images that came longer ago, such as PT24H or P7D.")
  @Nullable Duration age;

  @Mixin BerthCommand.Output output = new BerthCommand.Output();
  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() {
    var request = PruneRequest.newBuilder().setDryRun(dryRun).setDangling(dangling);
    if (age != null) {
      request.setBefore(OperationJson.nanos(Instant.now().minus(age)));
    }
    PruneResponse pruned;
    try (var client = new StoreClient(daemon.socket())) {
      pruned = client.prune(request.build());
    }
    if (output.json()) {
      System.out.println(AdminJson.object(pruned).toPrettyString());
      return ExitCode.OK;
    }
    for (StoreImage image : pruned.getRemovedList()) {
      System.out.println(
          (dryRun ? "would remove " : "removed ")
              + (image.getTagsCount() > 0 ? String.join(", ", image.getTagsList()) + " " : "")
              + image.getId());
    }
    System.out.println(
        "%s %s of %d images"
            .formatted(
                TextTable.size(pruned.getFreedBytes()),
                dryRun ? "would be freed, the layers" : "freed, the layers",
                pruned.getRemovedCount()));
    return ExitCode.OK;
  }
}
