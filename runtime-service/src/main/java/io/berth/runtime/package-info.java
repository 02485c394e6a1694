/**
 * Containers: made from an image and CRI's configuration, run by an OCI runtime under conmon,
 * watched until they exit, executed in, stopped and removed. {@link
 * io.berth.runtime.RuntimeGrpcService} is the door from the wire.
 */
@NullMarked
package io.berth.runtime;

import org.jspecify.annotations.NullMarked;
