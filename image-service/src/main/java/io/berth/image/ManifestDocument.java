package io.berth.image;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.image.ImageException.Reason;
import io.berth.oci.Descriptor;
import io.berth.oci.ImageIndex;
import io.berth.oci.ImageManifest;
import io.berth.oci.Json;
import io.berth.oci.MediaTypes;
import io.berth.oci.Platform;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** What is behind a tag or digest: one image, or a choice of images by platform. */
sealed interface ManifestDocument {

  /** The overlay file system stacks no more lower layers than this (kernel, OVL_MAX_STACK). */
  int LAYER_LIMIT = 500;

  /** A runnable image's manifest, checked. */
  record Single(ImageManifest manifest) implements ManifestDocument {}

  /**
   * Not to be run but to be mounted.
   *
   * @param type what the manifest says it is
   * @param text the whole manifest, whose digest is the artifact's id
   */
  record Artifact(ImageManifest manifest, String type, String text) implements ManifestDocument {}

  /** An index. */
  record Choice(ImageIndex index) implements ManifestDocument {
    /**
     * The best manifest for a machine.
     *
     * @throws ImageException NO_PLATFORM
     */
    Descriptor choose(Platform platform) {
      List<Descriptor> candidates =
          index.manifests().stream()
              .filter(entry ->
                  entry.mediaType() == null
                      || MediaTypes.isManifest(entry.mediaType())
                      || MediaTypes.isIndex(entry.mediaType()))
              .toList();
      return platform
          .choose(candidates)
          .orElseThrow(() ->
              new ImageException(
                  Reason.NO_PLATFORM,
                  "the image has nothing for "
                      + platform
                      + ", only for "
                      + candidates.stream()
                          .filter(entry -> !entry.isAttestation())
                          .map(entry -> String.valueOf(entry.platform()))
                          .distinct()
                          .collect(Collectors.joining(", "))
                      + "; build it for this platform"));
    }
  }

  /**
   * Tells the kind by the document's own type, then by the type it was served as, then by what is
   * in it. A document that could be read as both kinds is refused.
   *
   * @param servedAs the Content-Type
   * @throws ImageException CORRUPT, UNSUPPORTED
   */
  static ManifestDocument parse(byte[] content, @Nullable String servedAs) {
    JsonNode tree = read(content, JsonNode.class);
    String own = tree.path("mediaType").asText("");
    String type = own.isEmpty() ? mainPart(servedAs) : own;
    boolean hasImages = tree.has("manifests");
    boolean hasLayers = tree.has("layers") || tree.has("config");
    if (MediaTypes.isSchema1(type) || tree.path("schemaVersion").asInt() == 1) {
      throw new ImageException(
          Reason.UNSUPPORTED,
          "the image has a Docker manifest of schema 1, which is obsolete; push it again with a"
              + " current tool");
    }
    if (hasImages && hasLayers) {
      throw new ImageException(
          Reason.CORRUPT, "the manifest lists both images and layers, so it is neither kind");
    }
    if (MediaTypes.isIndex(type) || (!MediaTypes.isManifest(type) && hasImages)) {
      return new Choice(read(content, ImageIndex.class));
    }
    if (!MediaTypes.isManifest(type) && !hasLayers) {
      throw new ImageException(
          Reason.UNSUPPORTED, "a manifest of type \"" + type + "\" is not an image");
    }
    ImageManifest manifest = read(content, ImageManifest.class);
    if (manifest.layers().size() > LAYER_LIMIT) {
      throw new ImageException(
          Reason.UNSUPPORTED,
          "the image has " + manifest.layers().size() + " layers, more than " + LAYER_LIMIT);
    }
    // The config decides: image-spec, "Guidelines for Artifact Usage", gives every artifact another
    // one than images have.
    String config = manifest.config().mediaType();
    if (config != null && !MediaTypes.isConfig(config)) {
      return new Artifact(
          manifest,
          manifest.artifactType() == null ? config : manifest.artifactType(),
          new String(content, StandardCharsets.UTF_8));
    }
    requireRunnable(manifest);
    return new Single(manifest);
  }

  private static void requireRunnable(ImageManifest manifest) {
    for (Descriptor layer : manifest.layers()) {
      if (!MediaTypes.isLayer(layer.mediaType())) {
        throw new ImageException(
            Reason.UNSUPPORTED, "layer " + layer.digest() + " is of the type " + layer.mediaType());
      }
    }
  }

  private static <T> T read(byte[] content, Class<T> type) {
    try {
      return Json.read(content, type, "the manifest");
    } catch (IllegalArgumentException e) {
      throw new ImageException(Reason.CORRUPT, String.valueOf(e.getMessage()), e);
    }
  }

  /** A media type without its parameters. */
  private static String mainPart(@Nullable String contentType) {
    if (contentType == null) {
      return "";
    }
    int end = contentType.indexOf(';');
    return (end < 0 ? contentType : contentType.substring(0, end)).strip();
  }
}
