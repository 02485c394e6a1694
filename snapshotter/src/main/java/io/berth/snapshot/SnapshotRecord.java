package io.berth.snapshot;

import io.berth.oci.ChainId;
import java.util.List;

/** A snapshot as {@code snapshot.json} says it; layers bottom first. */
record SnapshotRecord(int formatVersion, String key, List<ChainId> layers) {
  static final int FORMAT = 1;

  @SuppressWarnings("ConstantValue") // Jackson passes null for a missing field
  SnapshotRecord {
    if (key == null || layers == null) {
      throw new IllegalArgumentException("a snapshot record without key or layers");
    }
  }
}
