/**
 * What every other module stands on: the kernel as Berth uses it (native calls, processes, mounts,
 * namespaces, cgroups, watches), files that survive a crash, undo as an object, and operations that
 * several callers share. Native calls are bound in {@link io.berth.linux.Libc} and nowhere else.
 */
@NullMarked
package io.berth.linux;

import org.jspecify.annotations.NullMarked;
