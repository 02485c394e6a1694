package io.berth.snapshot;

import io.berth.oci.ChainId;
import java.util.List;

/** A snapshot as {@code snapshot.json} says it; layers bottom first. */
record SnapshotRecord(int formatVersion, String key, List<ChainId> layers) {
  static final int FORMAT = 1;
}
