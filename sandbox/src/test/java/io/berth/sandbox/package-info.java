/// Tests of the sandboxes: rules as plain tests, everything that the kernel or a CNI plugin does
/// with the real ones, as root.
@NullMarked
package io.berth.sandbox;

import org.jspecify.annotations.NullMarked;
