/** Counters in the kernel's own formats, and counts of what the tests themselves have made. */
@NullMarked
package io.berth.stats;

import org.jspecify.annotations.NullMarked;
