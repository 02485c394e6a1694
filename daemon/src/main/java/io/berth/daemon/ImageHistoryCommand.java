package io.berth.daemon;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.berth.admin.v1.ImageLayer;
import io.berth.admin.v1.InspectResponse;
import io.berth.oci.ImageConfig;
import io.berth.oci.Json;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// How an image was built, and what each step takes on disk.
@Command(
    name = "history",
    description =
        "Shows the build steps of an image, the latest first, with what each takes on disk.",
    mixinStandardHelpOptions = true)
final class ImageHistoryCommand implements Callable<Integer> {
  private static final int COMMAND_WIDTH = 60;

  @Parameters(paramLabel = "IMAGE", description = "A name, an id or the beginning of one.")
  String image = "";

  @Option(names = "--no-trunc", description = "Whole commands.")
  boolean whole;

  @Mixin BerthCommand.Output output = new BerthCommand.Output();
  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  /// @param layer that the step made; null for one that changed the config alone
  record Step(String created, String command, String comment, @Nullable ImageLayer layer) {}

  @Override
  public Integer call() {
    InspectResponse found;
    try (var client = new StoreClient(daemon.socket())) {
      found = client.inspect(image);
    }
    List<Step> steps =
        steps(
            Json.read(
                found.getConfig().getBytes(StandardCharsets.UTF_8),
                ImageConfig.class,
                "the image's config"),
            found.getLayersList());
    System.out.print(output.json() ? json(steps).toPrettyString() + "\n" : table(steps).toString());
    return ExitCode.OK;
  }

  /// Latest first. Layers that the history doesn't speak of are steps without a command.
  static List<Step> steps(ImageConfig config, List<ImageLayer> layers) {
    List<Step> steps = new ArrayList<>();
    int next = 0;
    List<ImageConfig.History> history = config.history() == null ? List.of() : config.history();
    for (ImageConfig.History step : history) {
      boolean empty = step.emptyLayer();
      ImageLayer layer = empty || next >= layers.size() ? null : layers.get(next++);
      steps.addFirst(
          new Step(text(step.created()), text(step.createdBy()), text(step.comment()), layer));
    }
    while (next < layers.size()) {
      steps.addFirst(new Step("", "", "", layers.get(next++)));
    }
    return steps;
  }

  private static String text(@Nullable String value) {
    return value == null ? "" : value;
  }

  private TextTable table(List<Step> steps) {
    var table = new TextTable("LAYER", "CREATED", "SIZE", "STEP");
    for (Step step : steps) {
      ImageLayer layer = step.layer();
      String command = step.command().replaceAll("\\s+", " ").strip();
      if (!whole && command.length() > COMMAND_WIDTH) {
        command = command.substring(0, COMMAND_WIDTH - 1) + "…";
      }
      table.row(
          layer == null ? "-" : TextTable.shortId(layer.getDiffId()),
          step.created(),
          layer == null ? "0 B" : TextTable.size(layer.getBytes()),
          command.isEmpty() ? step.comment() : command);
    }
    return table;
  }

  private static ArrayNode json(List<Step> steps) {
    ArrayNode array = JsonNodeFactory.instance.arrayNode();
    for (Step step : steps) {
      ImageLayer layer = step.layer();
      array
          .addObject()
          .put("created", step.created())
          .put("created_by", step.command())
          .put("comment", step.comment())
          .put("diff_id", layer == null ? "" : layer.getDiffId())
          .put("bytes", layer == null ? 0 : layer.getBytes());
    }
    return array;
  }
}
