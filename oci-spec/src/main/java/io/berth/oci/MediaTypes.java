package io.berth.oci;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** The media types of image-spec and of Docker's manifest format v2, and what kind each one is. */
public final class MediaTypes {

  public static final String OCI_INDEX = "application/vnd.oci.image.index.v1+json";
  public static final String OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
  public static final String OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
  public static final String OCI_LAYER = "application/vnd.oci.image.layer.v1.tar";
  public static final String OCI_LAYER_GZIP = OCI_LAYER + "+gzip";
  public static final String OCI_LAYER_ZSTD = OCI_LAYER + "+zstd";
  public static final String DOCKER_INDEX =
      "application/vnd.docker.distribution.manifest.list.v2+json";
  public static final String DOCKER_MANIFEST =
      "application/vnd.docker.distribution.manifest.v2+json";
  public static final String DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json";
  public static final String DOCKER_LAYER_GZIP =
      "application/vnd.docker.image.rootfs.diff.tar.gzip";

  /** What a client that understands all of the above says in Accept when it asks for a manifest. */
  public static final List<String> MANIFESTS =
      List.of(OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST);

  private static final String OCI_FOREIGN_LAYER =
      "application/vnd.oci.image.layer.nondistributable.v1.tar";
  private static final String DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar";
  private static final String DOCKER_FOREIGN_LAYER =
      "application/vnd.docker.image.rootfs.foreign.diff.tar";

  private MediaTypes() {}

  public static boolean isIndex(@Nullable String type) {
    return OCI_INDEX.equals(type) || DOCKER_INDEX.equals(type);
  }

  public static boolean isManifest(@Nullable String type) {
    return OCI_MANIFEST.equals(type) || DOCKER_MANIFEST.equals(type);
  }

  /** Docker's first format, signed or not, which carries no config and isn't supported. */
  public static boolean isSchema1(@Nullable String type) {
    return type != null && type.startsWith("application/vnd.docker.distribution.manifest.v1+");
  }

  /** A runnable image's configuration; any other config type makes an OCI artifact. */
  public static boolean isConfig(@Nullable String type) {
    return OCI_CONFIG.equals(type) || DOCKER_CONFIG.equals(type);
  }

  /**
   * A tar of files, in whatever compression: that is told by the content's first bytes, since
   * registries hold many layers under the wrong suffix.
   */
  public static boolean isLayer(@Nullable String type) {
    if (type == null) {
      return false;
    }
    String tar = type.replaceFirst("([+.])(gzip|zstd)$", "");
    return tar.equals(OCI_LAYER)
        || tar.equals(OCI_FOREIGN_LAYER)
        || tar.equals(DOCKER_LAYER)
        || tar.equals(DOCKER_FOREIGN_LAYER);
  }
}
