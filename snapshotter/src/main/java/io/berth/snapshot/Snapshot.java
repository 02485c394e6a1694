package io.berth.snapshot;

import io.berth.oci.ChainId;
import java.nio.file.Path;
import java.util.List;

/**
 * A writable tree over a stack of layers.
 *
 * @param key its name, chosen by the caller: a container's id
 * @param layers bottom first
 * @param upper the folder that takes what is written
 */
public record Snapshot(String key, List<ChainId> layers, Path upper) {
  public Snapshot {
    layers = List.copyOf(layers);
  }
}
