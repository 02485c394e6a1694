package io.berth.image;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.linux.Stages;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A stream that is read ahead, by a bounded number of chunks, on a thread of its own: what makes a
 * pipeline of stages run at the pace of its slowest one. The thread opens the source and closes it.
 * It is a platform thread, since stages compute for seconds and virtual threads are not preempted:
 * they would keep the daemon's other calls from running.
 */
final class Readahead extends InputStream {

  /** Opens a source. */
  @FunctionalInterface
  interface Opener {
    @MustBeClosed
    InputStream open() throws IOException, InterruptedException;
  }

  /** Content, or the end and why it came early. */
  private static final class Chunk {
    static final int END = -1;

    final byte[] data;
    final int length;
    final @Nullable Throwable failure;

    Chunk(byte[] data, int length, @Nullable Throwable failure) {
      this.data = data;
      this.length = length;
      this.failure = failure;
    }
  }

  private static final Chunk CLOSED = new Chunk(new byte[0], Chunk.END, null);

  private final ChunkPool pool;
  private List<byte[]> buffers; // all of them; none once this is closed
  private final BlockingQueue<Chunk> filled;
  private final BlockingQueue<byte[]> empty;
  private final Thread thread;
  private @Nullable Chunk current;
  private int position;
  private final Stages.Meter starved;

  Readahead(String name, Opener open, ChunkPool pool, int chunkSize, int chunks) {
    this(name, open, pool, chunkSize, chunks, Stages.Meter.unseen());
  }

  /**
   * @param open runs on the reading thread
   * @param pool where its chunks come from, and go when it is closed
   * @param chunkSize in bytes
   * @param starved the stage of waiting for the source
   */
  Readahead(
      String name, Opener open, ChunkPool pool, int chunkSize, int chunks, Stages.Meter starved) {
    this.pool = pool;
    this.starved = starved;
    buffers = Stream.generate(() -> pool.take(chunkSize)).limit(chunks).toList();
    filled = new ArrayBlockingQueue<>(chunks + 1); // the end always finds room
    empty = new ArrayBlockingQueue<>(chunks);
    empty.addAll(buffers);
    thread = Thread.ofPlatform().daemon().name(name).start(() -> run(open));
  }

  private void run(Opener open) {
    Throwable failure = null;
    try (InputStream source = open.open()) {
      while (true) {
        byte[] buffer = empty.take();
        int length = source.readNBytes(buffer, 0, buffer.length);
        if (length > 0) {
          filled.add(new Chunk(buffer, length, null));
        }
        if (length < buffer.length) {
          break;
        }
      }
    } catch (Throwable e) {
      failure = e;
    }
    filled.add(new Chunk(new byte[0], Chunk.END, failure));
  }

  /**
   * The current chunk, waiting for the next one when it is used up.
   *
   * @return null at the end
   */
  private @Nullable Chunk chunk() throws IOException {
    Chunk chunk = current;
    if (chunk != null && chunk.length != Chunk.END && position == chunk.length) {
      empty.add(chunk.data);
      chunk = null;
    }
    if (chunk == null) {
      try {
        chunk = filled.poll();
        if (chunk == null) {
          starved.enter();
          try {
            chunk = filled.take();
          } finally {
            starved.leave();
          }
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new InterruptedIOException("interrupted while reading");
      }
      position = 0;
    }
    current = chunk;
    if (chunk.length != Chunk.END) {
      return chunk;
    }
    switch (chunk.failure) {
      case null -> {
        return null;
      }
      case IOException e -> throw e;
      case RuntimeException e -> throw e;
      case Error e -> throw e;
      case Throwable e -> throw new IOException(e);
    }
  }

  @Override
  public int read() throws IOException {
    Chunk chunk = chunk();
    return chunk == null ? -1 : chunk.data[position++] & 0xff;
  }

  @Override
  public int read(byte[] buffer, int offset, int length) throws IOException {
    if (length == 0) {
      return 0;
    }
    Chunk chunk = chunk();
    if (chunk == null) {
      return -1;
    }
    int count = Math.min(length, chunk.length - position);
    System.arraycopy(chunk.data, position, buffer, offset, count);
    position += count;
    return count;
  }

  /**
   * Exact about the end: 0 only there, waiting if need be. GZIPInputStream looks for a further
   * member only if something is available.
   */
  @Override
  public int available() throws IOException {
    Chunk chunk = chunk();
    return chunk == null ? 0 : chunk.length - position;
  }

  /**
   * Stops the reading thread, waits until it has closed the source, and gives the chunks back:
   * there is nothing to be read any more.
   */
  @Override
  public void close() {
    thread.interrupt();
    boolean interrupted = false;
    while (true) {
      try {
        thread.join();
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    current = CLOSED;
    buffers.forEach(pool::give);
    buffers = List.of();
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
