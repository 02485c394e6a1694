package io.berth.oci;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * Names a stack of layers by the uncompressed content of every one of them (image-spec, config,
 * "Layer ChainID"): equal chain IDs mean equal trees, whatever image or registry they came from.
 */
public record ChainId(Digest digest) implements Comparable<ChainId> {

  @JsonCreator
  public static ChainId parse(String text) {
    return new ChainId(Digest.parse(text));
  }

  /** The chain ID of each layer, bottom first; the last one names the whole image's tree. */
  public static List<ChainId> of(List<Digest> diffIds) {
    List<ChainId> chain = new ArrayList<>(diffIds.size());
    for (Digest diffId : diffIds) {
      chain.add(chain.isEmpty() ? new ChainId(diffId) : chain.getLast().then(diffId));
    }
    return List.copyOf(chain);
  }

  /** The chain ID of this stack with one more layer on top. */
  public ChainId then(Digest diffId) {
    return new ChainId(Digest.sha256((digest + " " + diffId).getBytes(StandardCharsets.US_ASCII)));
  }

  public String hex() {
    return digest.hex();
  }

  @Override
  public int compareTo(ChainId other) {
    return digest.compareTo(other.digest);
  }

  @Override
  @JsonValue
  public String toString() {
    return digest.toString();
  }
}
