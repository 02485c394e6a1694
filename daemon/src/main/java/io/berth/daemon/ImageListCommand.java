package io.berth.daemon;

import io.berth.admin.v1.GraphResponse;
import io.berth.admin.v1.StoreImage;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// One line for each name of each image.
@Command(
    name = "list",
    aliases = "ls",
    description = "Lists images: names, ids, sizes on disk, and how many use them.",
    mixinStandardHelpOptions = true)
final class ImageListCommand implements Callable<Integer> {
  @Parameters(
      arity = "0..1",
      paramLabel = "TEXT",
      description = "Only images of whose names or id this is a part.")
  String text = "";

  @Option(
      names = {"-q", "--quiet"},
      description = "Ids alone, one a line.")
  boolean quiet;

  @Option(names = "--digests", description = "Digest names, too.")
  boolean digests;

  @Mixin BerthCommand.Output output = new BerthCommand.Output();
  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() {
    GraphResponse graph;
    try (var client = new StoreClient(daemon.socket())) {
      graph = client.graph();
    }
    List<StoreImage> images = graph.getImagesList().stream().filter(this::isWanted).toList();
    if (quiet) {
      images.forEach(image -> System.out.println(image.getId()));
    } else if (output.json()) {
      System.out.println(AdminJson.array(images));
    } else {
      System.out.print(table(images));
    }
    return ExitCode.OK;
  }

  private boolean isWanted(StoreImage image) {
    return image.getId().contains(text)
        || image.getTagsList().stream().anyMatch(name -> name.contains(text))
        || image.getDigestsList().stream().anyMatch(name -> name.contains(text));
  }

  private TextTable table(List<StoreImage> images) {
    var table = new TextTable("IMAGE ID", "SIZE", "UNIQUE", "USES", "PINNED", "NAME");
    for (StoreImage image : images) {
      List<String> names =
          digests || image.getTagsCount() == 0
              ? java.util.stream.Stream.concat(
                      image.getTagsList().stream(), image.getDigestsList().stream())
                  .toList()
              : image.getTagsList();
      for (String name : names.isEmpty() ? List.of("<none>") : names) {
        table.row(
            TextTable.shortId(image.getId()),
            TextTable.size(image.getBytes()),
            TextTable.size(image.getUniqueBytes()),
            Integer.toString(image.getUsedByCount()),
            image.getPinned() ? "yes" : "",
            name);
      }
    }
    return table;
  }
}
