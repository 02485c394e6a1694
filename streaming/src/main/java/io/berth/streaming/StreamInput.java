package io.berth.streaming;

import io.netty.buffer.ByteBuf;
import io.netty.channel.EventLoop;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Objects;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * What a client sends on one stream, for a reader that waits. The link bounds what is held here.
 */
final class StreamInput extends InputStream implements ClientStream.Receiver {
  private final ClientStream stream;
  private final EventLoop loop;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private final Deque<ByteBuf> waiting = new ArrayDeque<>();
  private boolean ended;
  private boolean gone;
  private boolean closed;

  StreamInput(ClientStream stream, EventLoop loop) {
    this.stream = stream;
    this.loop = loop;
  }

  @Override
  public void data(ByteBuf data) {
    int count = data.readableBytes();
    boolean wanted;
    lock.lock();
    try {
      wanted = !closed && !gone && count > 0;
      if (wanted) {
        waiting.add(data);
        changed.signalAll();
      }
    } finally {
      lock.unlock();
    }
    if (!wanted) {
      data.release();
      stream.consumed(count);
    }
  }

  @Override
  public void end() {
    lock.lock();
    try {
      ended = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void reset() {
    lock.lock();
    try {
      gone = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  @Override
  public int read() throws IOException {
    byte[] one = new byte[1];
    return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
  }

  @Override
  public int read(byte[] buffer, int offset, int length) throws IOException {
    Objects.checkFromIndexSize(offset, length, buffer.length);
    if (length == 0) {
      return 0;
    }
    int taken;
    lock.lock();
    try {
      while (waiting.isEmpty() && !ended && !gone && !closed) {
        changed.await();
      }
      ByteBuf first = waiting.peek();
      if (closed) {
        throw new IOException("read from the client: the stream is closed");
      }
      if (first == null) {
        if (ended) {
          return -1;
        }
        throw new IOException("read from the client: it has gone away");
      }
      taken = Math.min(length, first.readableBytes());
      first.readBytes(buffer, offset, taken);
      if (!first.isReadable()) {
        waiting.remove();
        first.release();
      }
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("read from the client: interrupted");
    } finally {
      lock.unlock();
    }
    giveBack(taken);
    return taken;
  }

  @Override
  public int available() {
    lock.lock();
    try {
      return waiting.stream().mapToInt(ByteBuf::readableBytes).sum();
    } finally {
      lock.unlock();
    }
  }

  /** What comes later is thrown away, so that it doesn't hold up the other streams. */
  @Override
  public void close() {
    int dropped;
    lock.lock();
    try {
      closed = true;
      dropped = waiting.stream().mapToInt(ByteBuf::readableBytes).sum();
      waiting.forEach(ByteBuf::release);
      waiting.clear();
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    giveBack(dropped);
  }

  private void giveBack(int count) {
    if (count > 0 && !loop.isShuttingDown()) {
      loop.execute(() -> stream.consumed(count));
    }
  }
}
