package io.berth.daemon;

import com.google.protobuf.ByteString;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;

/// Turns pieces that arrive on one thread into a stream that another reads. A full queue holds the
/// sender back, which holds the client back through gRPC's flow control.
final class ChunkStream extends InputStream {
  private static final ByteString END = ByteString.EMPTY;

  private final BlockingQueue<ByteString> pieces = new ArrayBlockingQueue<>(4);
  private InputStream piece = InputStream.nullInputStream();
  private boolean ended;

  void add(ByteString data) throws InterruptedException {
    if (!data.isEmpty()) {
      pieces.put(data);
    }
  }

  void end() throws InterruptedException {
    pieces.put(END);
  }

  @Override
  public int read() throws IOException {
    byte[] one = new byte[1];
    return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
  }

  @Override
  public int read(byte[] buffer, int offset, int length) throws IOException {
    if (length == 0) {
      return 0;
    }
    while (!ended) {
      int n = piece.read(buffer, offset, length);
      if (n > 0) {
        return n;
      }
      try {
        ByteString next = pieces.take();
        ended = next.isEmpty();
        piece = next.newInput();
      } catch (InterruptedException cancelled) {
        Thread.currentThread().interrupt();
        throw new InterruptedIOException("the client stopped sending the archive");
      }
    }
    return -1;
  }
}
