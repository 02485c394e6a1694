package io.berth.image;

import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import io.berth.oci.ImageConfig;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * An image that is here, whole.
 *
 * @param id digest of its config, the same from whatever registry it came
 * @param repoTags full names with a tag, sorted
 * @param repoDigests full names with the digest of the manifest or index, sorted
 * @param size on disk, in bytes: of its record and all of its layers
 * @param pinned not to be removed for want of space; removal on request works
 * @param configText the config's exact bytes as UTF-8 text, whose digest is the id
 * @param layers bottom first
 * @param annotations what the last pull's ImageSpec said
 * @param artifactType absent for an image that can be run; an artifact can be mounted, its config
 *     is empty and {@code configText} its manifest
 * @param signatures found beside it, not verified; {@link ImageTrust} judges them
 */
public record Image(
    Digest id,
    List<String> repoTags,
    List<String> repoDigests,
    long size,
    boolean pinned,
    ImageConfig config,
    String configText,
    List<ChainId> layers,
    Map<String, String> annotations,
    List<ImageSignature> signatures,
    @Nullable String artifactType) {

  /** How a table or an event names it: a tag, else a digest name, else the id. */
  public String name() {
    if (!repoTags.isEmpty()) {
      return repoTags.getFirst();
    }
    return repoDigests.isEmpty() ? id.toString() : repoDigests.getFirst();
  }
}
