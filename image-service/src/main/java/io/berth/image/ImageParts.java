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
import org.jspecify.annotations.Nullable;

/**
 * An image's config and blobs, checked against each other, before any layer is fetched.
 *
 * @param configText of an artifact its manifest, which says nothing of running
 * @param diffIds bottom first
 * @param blobs of the layers, likewise
 * @param artifactType absent for an image that can be run
 */
record ImageParts(
    Digest id,
    String configText,
    List<Digest> diffIds,
    List<Descriptor> blobs,
    @Nullable String artifactType) {

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
    return new ImageParts(
        Digest.sha256(config), text, parsed.rootfs().diffIds(), List.copyOf(blobs), null);
  }

  /**
   * Of an artifact: the layers that can be mounted. Its config isn't read, and equal for most, so
   * the manifest's digest is the id.
   *
   * @throws ImageException CORRUPT for a name that leads elsewhere, UNSUPPORTED where nothing can
   *     be mounted
   */
  static ImageParts of(ManifestDocument.Artifact artifact) {
    List<Descriptor> blobs =
        artifact.manifest().layers().stream().filter(ArtifactLayer::isMountable).toList();
    if (blobs.isEmpty()) {
      throw new ImageException(
          Reason.UNSUPPORTED,
          "it is an OCI artifact of type "
              + artifact.type()
              + " without a file that could be mounted: none of its layers is a tar or has a "
              + ArtifactLayer.TITLE);
    }
    return new ImageParts(
        Digest.sha256(artifact.text().getBytes(StandardCharsets.UTF_8)),
        artifact.text(),
        blobs.stream().map(ArtifactLayer::diffId).toList(),
        blobs,
        artifact.type());
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
        id,
        repoTags,
        repoDigests,
        size,
        configText,
        layers,
        annotations,
        signatures,
        artifactType,
        0);
  }
}
