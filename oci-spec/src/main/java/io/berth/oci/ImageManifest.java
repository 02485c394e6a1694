package io.berth.oci;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * An image manifest (image-spec, manifest).
 *
 * @param layers bottom first
 */
public record ImageManifest(
    int schemaVersion,
    @Nullable String mediaType,
    @Nullable String artifactType,
    Descriptor config,
    List<Descriptor> layers,
    @Nullable Map<String, String> annotations) {

  @SuppressWarnings("ConstantValue") // Jackson passes null for a missing field
  public ImageManifest {
    if (config == null) {
      throw new IllegalArgumentException("the image manifest lacks its config");
    }
    layers = layers == null ? List.of() : List.copyOf(layers);
  }
}
