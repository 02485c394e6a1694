/// Pod sandboxes: what a pod's containers share. A sandbox is a set of pinned kernel namespaces, a
/// few files (host name, resolver, hosts), a shared memory file system, an address from CNI and one
/// durable record. [SandboxManager] makes and ends them, [SandboxStore] alone owns the records.
@NullMarked
package io.berth.sandbox;

import org.jspecify.annotations.NullMarked;
