package io.berth.daemon;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.berth.admin.v1.InspectResponse;
import io.berth.oci.Json;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/// Everything about an image, as JSON: for people and programs alike.
@Command(
    name = "inspect",
    description =
        "Prints all that is known of images, as a JSON array: names, layers, config, users.",
    mixinStandardHelpOptions = true)
final class ImageInspectCommand implements Callable<Integer> {
  @Parameters(
      arity = "1..*",
      paramLabel = "IMAGE",
      description = "Names, ids or the beginnings of ids.")
  List<String> images = new ArrayList<>();

  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() {
    ArrayNode found = JsonNodeFactory.instance.arrayNode();
    try (var client = new StoreClient(daemon.socket())) {
      images.forEach(image -> found.add(json(client.inspect(image))));
    }
    System.out.println(found.toPrettyString());
    return ExitCode.OK;
  }

  private static ObjectNode json(InspectResponse response) {
    ObjectNode image = AdminJson.object(response.getImage());
    ArrayNode layers = image.putArray("layers");
    response.getLayersList().forEach(layer -> layers.add(AdminJson.object(layer)));
    image.set(
        response.getImage().getArtifactType().isEmpty() ? "config" : "manifest",
        Json.read(
            response.getConfig().getBytes(StandardCharsets.UTF_8),
            ObjectNode.class,
            "the image's config or manifest"));
    return image;
  }
}
