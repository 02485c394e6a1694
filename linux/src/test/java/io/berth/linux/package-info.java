/** How the kernel behaves under this module, asked of the kernel itself. */
@NullMarked
package io.berth.linux;

import org.jspecify.annotations.NullMarked;
