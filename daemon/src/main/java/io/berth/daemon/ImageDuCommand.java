package io.berth.daemon;

import io.berth.admin.v1.GraphResponse;
import io.berth.admin.v1.StoreImage;
import io.berth.admin.v1.StoreLayer;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/// What images take on disk.
@Command(
    name = "du",
    description = "Says what images take on disk, largest first: alone, and with what they share.",
    mixinStandardHelpOptions = true)
final class ImageDuCommand implements Callable<Integer> {
  @Option(names = "--layers", description = "Layer by layer, with who holds each.")
  boolean layers;

  @Mixin BerthCommand.Output output = new BerthCommand.Output();
  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() {
    GraphResponse graph;
    try (var client = new StoreClient(daemon.socket())) {
      graph = client.graph();
    }
    if (output.json()) {
      System.out.println(AdminJson.object(graph).toPrettyString());
    } else {
      System.out.print(layers ? layerTable(graph) : imageTable(graph));
      System.out.println(total(graph.getLayersList()));
    }
    return ExitCode.OK;
  }

  private static TextTable imageTable(GraphResponse graph) {
    var table = new TextTable("UNIQUE", "SHARED", "SIZE", "USES", "IMAGE");
    graph.getImagesList().stream()
        .sorted(Comparator.comparingLong(StoreImage::getUniqueBytes).reversed())
        .forEach(image ->
            table.row(
                TextTable.size(image.getUniqueBytes()),
                TextTable.size(image.getBytes() - image.getUniqueBytes()),
                TextTable.size(image.getBytes()),
                Integer.toString(image.getUsedByCount()),
                image.getTagsCount() > 0
                    ? image.getTags(0)
                    : image.getDigestsCount() > 0 ? image.getDigests(0) : image.getId()));
    return table;
  }

  private static TextTable layerTable(GraphResponse graph) {
    var table = new TextTable("LAYER", "SIZE", "INODES", "HELD BY");
    graph.getLayersList().stream()
        .sorted(Comparator.comparingLong(StoreLayer::getBytes).reversed())
        .forEach(layer ->
            table.row(
                TextTable.shortId(layer.getChainId()),
                TextTable.size(layer.getBytes()),
                Long.toString(layer.getInodes()),
                layer.getHeldByCount() == 0 ? "nobody" : String.join(", ", layer.getHeldByList())));
    return table;
  }

  private static String total(List<StoreLayer> layers) {
    return "%s in %d layers, %d inodes"
        .formatted(
            TextTable.size(layers.stream().mapToLong(StoreLayer::getBytes).sum()),
            layers.size(),
            layers.stream().mapToLong(StoreLayer::getInodes).sum());
  }
}
