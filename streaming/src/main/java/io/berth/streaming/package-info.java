/**
 * The streaming server: it hands out URLs with tokens for exec, attach and port-forward, and speaks
 * SPDY/3.1 and WebSocket with whoever comes with one.
 *
 * <p>This room knows protocols, not containers: what is run at the other end is a {@link
 * io.berth.streaming.CommandTarget}.
 */
@NullMarked
package io.berth.streaming;

import org.jspecify.annotations.NullMarked;
