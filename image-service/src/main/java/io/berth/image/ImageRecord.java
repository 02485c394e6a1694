package io.berth.image;

import io.berth.oci.ChainId;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.oci.ImageConfig;
import io.berth.oci.Json;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * An image as it is kept on disk.
 *
 * @param size of config and blobs as stored in the registry, in bytes
 * @param config the exact text whose digest is the id
 * @param signatures found beside it by pulls that had to ask for them; judged at each use
 * @param artifactType of what can't be run but mounted; then {@code config} is its manifest
 * @param updatedAt milliseconds since the epoch; of two records that claim one tag the younger wins
 */
record ImageRecord(
    Digest id,
    List<String> repoTags,
    List<String> repoDigests,
    long size,
    String config,
    List<LayerRecord> layers,
    Map<String, String> annotations,
    List<ImageSignature> signatures,
    @Nullable String artifactType,
    long updatedAt) {

  static final int FORMAT = 1;

  @SuppressWarnings("ConstantValue") // Jackson passes null for a missing field
  ImageRecord {
    if (id == null || config == null || layers == null) {
      throw new IllegalArgumentException("an image record without id, config or layers");
    }
    repoTags = repoTags == null ? List.of() : repoTags.stream().sorted().distinct().toList();
    repoDigests =
        repoDigests == null ? List.of() : repoDigests.stream().sorted().distinct().toList();
    annotations = annotations == null ? Map.of() : annotations;
    signatures = signatures == null ? List.of() : List.copyOf(signatures);
  }

  /**
   * One layer, bottom first.
   *
   * @param blob as the manifest described it, by which it can be fetched again
   */
  record LayerRecord(ChainId chainId, Digest diffId, Descriptor blob) {}

  List<ChainId> chain() {
    return layers.stream().map(LayerRecord::chainId).toList();
  }

  ImageRecord withNames(List<String> tags, List<String> digests) {
    return new ImageRecord(
        id, tags, digests, size, config, layers, annotations, signatures, artifactType, updatedAt);
  }

  /**
   * The config as data.
   *
   * @throws IllegalArgumentException if the text is no config
   */
  ImageConfig parseConfig() {
    return Json.read(
        config.getBytes(StandardCharsets.UTF_8), ImageConfig.class, "image config " + id);
  }

  /**
   * @param room on disk, in bytes
   */
  Image toImage(ImageConfig parsed, long room, Set<String> pinnedNames) {
    boolean pinned =
        pinnedNames.contains(id.toString())
            || repoTags.stream().anyMatch(pinnedNames::contains)
            || repoDigests.stream().anyMatch(pinnedNames::contains);
    return new Image(
        id,
        repoTags,
        repoDigests,
        room,
        pinned,
        parsed,
        config,
        chain(),
        annotations,
        signatures,
        artifactType);
  }
}
