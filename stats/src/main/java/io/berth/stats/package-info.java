/**
 * What pods and containers use, as the kernel counts it: samples of cgroups and of network
 * interfaces, rates between them, and the metrics made of both.
 *
 * <p>This room knows nothing of pods' lives: it is told which cgroups, processes and namespaces to
 * look at, and under which names to report them. A value that the kernel does not tell is absent,
 * never zero.
 */
@NullMarked
package io.berth.stats;

import org.jspecify.annotations.NullMarked;
