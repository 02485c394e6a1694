package io.berth.streaming;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelPromise;
import io.netty.handler.codec.spdy.DefaultSpdyDataFrame;
import io.netty.handler.codec.spdy.DefaultSpdyRstStreamFrame;
import io.netty.handler.codec.spdy.DefaultSpdyWindowUpdateFrame;
import io.netty.handler.codec.spdy.SpdyStreamStatus;
import java.nio.channels.ClosedChannelException;
import java.util.ArrayDeque;
import java.util.Deque;
import org.jspecify.annotations.Nullable;

/** A stream of a {@link SpdySession}. */
final class SpdyStream extends ClientStream {
  private static final int MOST_QUEUED = 64 << 10;

  private final SpdySession session;
  private final int id;
  private final Deque<Piece> queued = new ArrayDeque<>(); // what the client's window doesn't allow
  private @Nullable Receiver receiver;
  private long window;
  private int queuedBytes;
  private int credit; // consumed, and not told to the client yet
  private boolean clientEnded;
  private boolean ended;
  private boolean dead;

  private record Piece(ByteBuf data, boolean last, ChannelPromise sent) {}

  SpdyStream(SpdySession session, int id, int window) {
    this.session = session;
    this.id = id;
    this.window = window;
  }

  int id() {
    return id;
  }

  void begin(Receiver firstReceiver) {
    receiver = firstReceiver;
  }

  boolean hasEnded() {
    return clientEnded || dead;
  }

  private Receiver receiver() {
    if (receiver == null) {
      throw new IllegalStateException("stream " + id + " has no receiver");
    }
    return receiver;
  }

  void onData(ByteBuf data) {
    receiver().data(data);
  }

  void onEnd() {
    clientEnded = true;
    removeIfDone();
    receiver().end();
  }

  void onReset() {
    if (!dead) {
      die();
      receiver().reset();
    }
  }

  @Override
  ChannelFuture send(ByteBuf data) {
    return send(new Piece(data, false, session.context().newPromise()));
  }

  @Override
  ChannelFuture end() {
    return send(new Piece(Unpooled.EMPTY_BUFFER, true, session.context().newPromise()));
  }

  private ChannelFuture send(Piece piece) {
    if (dead || ended) {
      piece.data.release();
      return piece.sent.setFailure(new ClosedChannelException());
    }
    ended = piece.last;
    queued.add(piece);
    queuedBytes += piece.data.readableBytes();
    drain();
    return piece.sent;
  }

  void widen(int bytes) {
    window += bytes;
  }

  /** Sends what the windows allow. */
  void drain() {
    boolean wasFull = !isWritable();
    Piece piece;
    while ((piece = queued.peek()) != null) {
      int count = piece.data.readableBytes();
      int allowed = Math.min(count, session.room(window));
      if (allowed < count) {
        if (allowed > 0) {
          account(allowed);
          session.write(new DefaultSpdyDataFrame(id, piece.data.readRetainedSlice(allowed)));
        }
        return;
      }
      queued.remove();
      account(count);
      var frame = new DefaultSpdyDataFrame(id, piece.data);
      frame.setLast(piece.last);
      var _ = session.context().writeAndFlush(frame, piece.sent);
      if (piece.last) {
        removeIfDone();
      }
    }
    if (wasFull) {
      tellWritable();
    }
  }

  private void account(int bytes) {
    window -= bytes;
    queuedBytes -= bytes;
    session.spent(bytes);
  }

  private void removeIfDone() {
    if (clientEnded && ended && queued.isEmpty()) {
      session.remove(this);
    }
  }

  void tellWritable() {
    if (!dead && isWritable()) {
      receiver().writable();
    }
  }

  @Override
  void reset() {
    if (!dead) {
      die();
      session.remove(this);
      session.write(new DefaultSpdyRstStreamFrame(id, SpdyStreamStatus.CANCEL));
    }
  }

  private void die() {
    dead = true;
    for (Piece piece : queued) {
      piece.data.release();
      piece.sent.setFailure(new ClosedChannelException());
    }
    queued.clear();
    queuedBytes = 0;
  }

  @Override
  void consumed(int bytes) {
    session.consumed(bytes);
    credit += bytes;
    if (!dead && !clientEnded && credit >= SpdySession.INITIAL_WINDOW / 2) {
      session.write(new DefaultSpdyWindowUpdateFrame(id, credit));
      credit = 0;
    }
  }

  @Override
  boolean isWritable() {
    return queuedBytes < MOST_QUEUED && session.context().channel().isWritable();
  }
}
