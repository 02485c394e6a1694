package io.berth.streaming;

import com.google.errorprone.annotations.CanIgnoreReturnValue;
import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelFuture;

/**
 * One stream within a client's session, whatever protocol carries it. Everything here happens on
 * the session's event loop.
 */
abstract class ClientStream {
  /** Who takes what the client sends. */
  interface Receiver {
    /**
     * The next bytes, now the receiver's; it tells {@link #consumed} their number when it holds
     * them no longer.
     */
    void data(ByteBuf data);

    /** The client has sent everything. */
    void end();

    /** The stream is gone, or the whole client; nothing comes and nothing arrives any more. */
    void reset();

    /** {@link #isWritable} has become true. */
    default void writable() {}
  }

  /** Takes ownership of the data. The future is done when the kernel has the bytes. */
  @CanIgnoreReturnValue
  abstract ChannelFuture send(ByteBuf data);

  /** Half-close: nothing is sent after this. */
  @CanIgnoreReturnValue
  abstract ChannelFuture end();

  /** Gives the stream up in both directions. */
  abstract void reset();

  /** Credit for the client: so many bytes are held no longer. */
  abstract void consumed(int bytes);

  /** False while the client doesn't keep up; to send nevertheless is possible. */
  abstract boolean isWritable();
}
