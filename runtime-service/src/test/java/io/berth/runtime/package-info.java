/** Containers as the OCI runtimes, conmon and the kernel see them, and CRI's words for them. */
@NullMarked
package io.berth.runtime;

import org.jspecify.annotations.NullMarked;
