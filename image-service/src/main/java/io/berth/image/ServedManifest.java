package io.berth.image;

import io.berth.oci.Digest;
import org.jspecify.annotations.Nullable;

/** A manifest as a host serves it. */
final class ServedManifest {
  private final Digest digest;
  private final @Nullable String mediaType;
  private final byte @Nullable [] content;

  /**
   * @param mediaType the Content-Type
   * @param content null when only the digest was asked for
   */
  ServedManifest(Digest digest, @Nullable String mediaType, byte @Nullable [] content) {
    this.digest = digest;
    this.mediaType = mediaType;
    this.content = content;
  }

  Digest digest() {
    return digest;
  }

  @Nullable String mediaType() {
    return mediaType;
  }

  byte @Nullable [] content() {
    return content;
  }
}
