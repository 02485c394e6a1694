/** Tests of the CNI invoker: with plugins scripted to misbehave, and as root with real ones. */
@NullMarked
package io.berth.cni;

import org.jspecify.annotations.NullMarked;
