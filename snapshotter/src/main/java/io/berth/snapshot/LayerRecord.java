package io.berth.snapshot;

import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import org.jspecify.annotations.Nullable;

/** A layer as {@code layer.json} says it. */
record LayerRecord(
    int formatVersion,
    ChainId chainId,
    @Nullable ChainId parent,
    Digest diffId,
    long bytes,
    long inodes) {
  static final int FORMAT = 1;
}
