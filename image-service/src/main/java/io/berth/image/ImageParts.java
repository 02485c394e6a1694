package io.berth.image;

import io.berth.image.ImageException.Reason;
import io.berth.image.ImageRecord.LayerRecord;
import io.berth.oci.ChainId;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.oci.ImageConfig;
import io.berth.oci.Json;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * An image's config and blobs, checked against each other, before any layer is fetched.
 *
 * @param blobs of the layers, bottom first
 */
record ImageParts(Digest id, String configText, ImageConfig config, List<Descriptor> blobs) {

  /** A larger one isn't read. */
  static final int CONFIG_LIMIT = 8 << 20;

  /**
   * Puts config and layers together.
   *
   * @throws ImageException CORRUPT if they don't fit, UNSUPPORTED
   */
  static ImageParts of(byte[] config, List<Descriptor> blobs) {
    String text = new String(config, StandardCharsets.UTF_8);
    if (!Arrays.equals(config, text.getBytes(StandardCharsets.UTF_8))) {
      throw new ImageException(Reason.CORRUPT, "the image's config is not UTF-8 text");
    }
    ImageConfig parsed;
    try {
      parsed = Json.read(config, ImageConfig.class, "the image's config");
    } catch (IllegalArgumentException e) {
      throw new ImageException(Reason.CORRUPT, String.valueOf(e.getMessage()), e);
    }
    int named = parsed.rootfs().diffIds().size();
    if (named != blobs.size()) {
      throw new ImageException(
          Reason.CORRUPT,
          "the image's config names " + named + " layers and its manifest " + blobs.size());
    }
    if (parsed.os() != null && !parsed.os().isEmpty() && !parsed.os().equals("linux")) {
      throw new ImageException(
          Reason.NO_PLATFORM, "the image is for " + parsed.os() + ", not for linux");
    }
    return new ImageParts(Digest.sha256(config), text, parsed, List.copyOf(blobs));
  }

  List<Digest> diffIds() {
    return config.rootfs().diffIds();
  }

  List<ChainId> chain() {
    return ChainId.of(diffIds());
  }

  /** As the store keeps it, under the given names. */
  ImageRecord record(
      List<String> repoTags,
      List<String> repoDigests,
      Map<String, String> annotations,
      List<ImageSignature> signatures) {
    List<ChainId> chain = chain();
    List<LayerRecord> layers = new ArrayList<>();
    long size = configText.getBytes(StandardCharsets.UTF_8).length;
    for (int i = 0; i < chain.size(); i++) {
      layers.add(new LayerRecord(chain.get(i), diffIds().get(i), blobs.get(i)));
      size += blobs.get(i).size();
    }
    return new ImageRecord(
        id, repoTags, repoDigests, size, configText, layers, annotations, signatures, 0);
  }
}
