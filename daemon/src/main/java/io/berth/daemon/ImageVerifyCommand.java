package io.berth.daemon;

import io.berth.admin.v1.VerifyRequest;
import io.berth.admin.v1.VerifyResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// Whether what is on disk is what was pulled.
@Command(
    name = "verify",
    description =
        "Compares layers on disk with what they were when they were made, and names what differs.",
    mixinStandardHelpOptions = true,
    exitCodeListHeading = "Exit codes:%n",
    exitCodeList = {"0:all is as it was made, or was repaired", "1:something is damaged"})
final class ImageVerifyCommand implements Callable<Integer> {
  @Parameters(
      arity = "0..1",
      paramLabel = "IMAGE",
      description = "A name, an id or the beginning of one. Default: the whole store.")
  String image = "";

  @Option(
      names = "--repair",
      description = "Fetches damaged layers anew, and only these. Running containers keep theirs.")
  boolean repair;

  @Mixin BerthCommand.Output output = new BerthCommand.Output();
  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() {
    List<VerifyResponse> layers = new ArrayList<>();
    var request = VerifyRequest.newBuilder().setImage(image).setRepair(repair).build();
    try (var client = new StoreClient(daemon.socket())) {
      client.verify(
          request,
          layer -> {
            layers.add(layer);
            if (!output.json()) {
              System.out.print(text(layer));
            }
          });
    }
    if (output.json()) {
      System.out.println(AdminJson.array(layers));
    } else {
      System.out.println(summary(layers));
    }
    return layers.stream().allMatch(VerifyResponse::getSound) ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  private static String text(VerifyResponse layer) {
    var text = new StringBuilder();
    text.append(TextTable.shortId(layer.getChainId())).append("  ");
    if (!layer.getManifest()) {
      return text.append("has no manifest, it was made by an earlier version\n").toString();
    }
    if (layer.getFlawCount() == 0) {
      return text.append("ok, ")
          .append(layer.getFiles())
          .append(" files, ")
          .append(TextTable.size(layer.getBytes()))
          .append('\n')
          .toString();
    }
    text.append(layer.getSound() ? "was damaged" : "DAMAGED")
        .append(", of ")
        .append(String.join(", ", layer.getImagesList()))
        .append('\n');
    layer.getFlawsList().forEach(flaw -> text.append("    ").append(flaw).append('\n'));
    if (layer.getFlawCount() > layer.getFlawsCount()) {
      text.append("    and ")
          .append(layer.getFlawCount() - layer.getFlawsCount())
          .append(" more\n");
    }
    return text.append("    ").append(layer.getRepair()).append('\n').toString();
  }

  private static String summary(List<VerifyResponse> layers) {
    long damaged = layers.stream().filter(layer -> !layer.getSound()).count();
    long repaired =
        layers.stream().filter(layer -> layer.getSound() && layer.getFlawCount() > 0).count();
    long unknown = layers.stream().filter(layer -> !layer.getManifest()).count();
    return "%d layers: %d damaged, %d repaired%s"
        .formatted(
            layers.size(),
            damaged,
            repaired,
            unknown == 0 ? "" : ", " + unknown + " without a manifest");
  }
}
