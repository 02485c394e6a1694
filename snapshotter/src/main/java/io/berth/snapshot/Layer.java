package io.berth.snapshot;

import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * A committed layer: complete, durable, never changed again.
 *
 * @param chainId names this layer and everything below it
 * @param parent the chain below, null for a bottom layer
 * @param diffId digest of the uncompressed tar this layer alone was made from
 * @param usage of this layer alone
 * @param path the folder holding the tree, in overlayfs's form: whiteouts are character devices 0:0
 */
public record Layer(
    ChainId chainId, @Nullable ChainId parent, Digest diffId, Usage usage, Path path) {}
