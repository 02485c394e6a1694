package io.berth.oci;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Points at content by its digest (image-spec, descriptor).
 *
 * @param size of the content in bytes, as stored
 */
public record Descriptor(
    @Nullable String mediaType,
    Digest digest,
    long size,
    @Nullable String artifactType,
    @Nullable List<String> urls,
    @Nullable Map<String, String> annotations,
    @Nullable Platform platform) {

  /** The annotation by which an image layout's index names its images. */
  public static final String REF_NAME = "org.opencontainers.image.ref.name";

  /** Where BuildKit marks an index entry as an attestation about another entry. */
  private static final String REFERENCE_TYPE = "vnd.docker.reference.type";

  @SuppressWarnings("ConstantValue") // Jackson passes null for a missing field
  public Descriptor {
    if (digest == null) {
      throw new IllegalArgumentException("a descriptor lacks its digest");
    }
    if (size < 0) {
      throw new IllegalArgumentException("descriptor " + digest + " has the size " + size);
    }
  }

  public static Descriptor of(String mediaType, Digest digest, long size) {
    return new Descriptor(mediaType, digest, size, null, null, null, null);
  }

  public @Nullable String annotation(String key) {
    return annotations == null ? null : annotations.get(key);
  }

  /** True for entries that describe an image instead of being one. */
  public boolean isAttestation() {
    return annotation(REFERENCE_TYPE) != null || (platform != null && platform.isUnknown());
  }
}
