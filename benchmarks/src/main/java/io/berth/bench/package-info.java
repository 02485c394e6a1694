/**
 * Berth seen from outside, over its socket alone: the load generator, which measures calls, pulls,
 * memory and start against the floor of the bare binaries, and the demo. Speaks plain CRI, so the
 * same load can be put on another runtime.
 */
@NullMarked
package io.berth.bench;

import org.jspecify.annotations.NullMarked;
