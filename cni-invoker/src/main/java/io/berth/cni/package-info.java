/**
 * Connects pods to networks by running CNI plugins as the specification (0.1.0 to 1.1.0) says:
 * finds the network configuration, follows its folder, runs the plugins of ADD, DEL, CHECK, STATUS
 * and GC, and keeps what DEL needs in the cache other CNI runtimes use too. {@link
 * io.berth.cni.CniNetworks} is the door.
 */
@NullMarked
package io.berth.cni;

import org.jspecify.annotations.NullMarked;
