package io.berth.oci;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** An image index, alias manifest list: one manifest per platform (image-spec, image-index). */
public record ImageIndex(
    int schemaVersion,
    @Nullable String mediaType,
    List<Descriptor> manifests,
    @Nullable Map<String, String> annotations) {

  @SuppressWarnings("ConstantValue") // Jackson passes null for a missing field
  public ImageIndex {
    manifests = manifests == null ? List.of() : List.copyOf(manifests);
  }
}
