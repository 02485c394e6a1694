/**
 * Layers on disk and the root file systems mounted from them.
 *
 * <p>{@link io.berth.snapshot.Snapshotter} is the door and teaches the life of a layer and of a
 * snapshot; {@link io.berth.snapshot.OverlaySnapshotter} keeps both for overlayfs. This room knows
 * nothing of images, tar or containers: it is told chain IDs, keys and owners.
 */
@NullMarked
package io.berth.snapshot;

import org.jspecify.annotations.NullMarked;
