package io.berth.daemon;

import io.berth.admin.v1.GraphResponse;
import io.berth.admin.v1.StoreImage;
import io.berth.admin.v1.StoreLayer;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/// Why things stay. What nobody holds goes by itself, see `gc.grace`.
@Command(
    name = "gc",
    description = {
      "Removes layers that nothing refers to at once; by itself that is done after gc.grace.",
      "Images that nobody uses: berth image prune, and [gc] of the configuration."
    },
    mixinStandardHelpOptions = true)
final class GcCommand implements Callable<Integer> {
  @Option(
      names = "--explain",
      description = "Removes nothing, and says of each image and layer why it stays.")
  boolean explain;

  @Mixin BerthCommand.Output output = new BerthCommand.Output();
  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() {
    try (var client = new StoreClient(daemon.socket())) {
      if (!explain) {
        long freed = client.collect().getFreedBytes();
        System.out.println(TextTable.size(freed) + " freed");
        return ExitCode.OK;
      }
      GraphResponse graph = client.graph();
      System.out.print(
          output.json() ? AdminJson.object(graph).toPrettyString() + "\n" : text(graph));
    }
    return ExitCode.OK;
  }

  private static String text(GraphResponse graph) {
    var text = new StringBuilder();
    for (StoreImage image : graph.getImagesList()) {
      String name = image.getTagsCount() > 0 ? image.getTags(0) : image.getId();
      text.append("image ").append(name).append(": ").append(why(image)).append('\n');
    }
    for (StoreLayer layer : graph.getLayersList()) {
      text.append("layer ")
          .append(TextTable.shortId(layer.getChainId()))
          .append(" (")
          .append(TextTable.size(layer.getBytes()))
          .append("): ")
          .append(
              layer.getHeldByCount() == 0
                  ? "nothing refers to it; it goes "
                      + wait(layer.getGoesAt(), System.currentTimeMillis())
                      + ", berth gc removes it at once"
                  : "held by " + String.join(", ", layer.getHeldByList()))
          .append('\n');
    }
    return text.isEmpty() ? "there are no images and no layers\n" : text.toString();
  }

  /// @param at nanoseconds since the epoch
  /// @param now milliseconds since the epoch
  static String wait(long at, long now) {
    long seconds = TimeUnit.NANOSECONDS.toSeconds(at) - TimeUnit.MILLISECONDS.toSeconds(now);
    if (seconds <= 0) {
      return "at the next look";
    }
    return "in " + (seconds < 120 ? seconds + " s" : seconds / 60 + " min");
  }

  private static String why(StoreImage image) {
    if (image.getUsedByCount() > 0) {
      return "used by " + String.join(", ", image.getUsedByList());
    }
    return image.getPinned()
        ? "pinned by the configuration"
        : "unused; the kubelet, [gc] or berth image prune may remove it";
  }
}
