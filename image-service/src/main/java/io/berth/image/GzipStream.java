package io.berth.image;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.linux.GzipInflater;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;

/**
 * The plain content of all gzip members in a stream, by {@link GzipInflater}. What follows the last
 * one and doesn't begin as a member is left out, as gzip(1) does.
 */
final class GzipStream extends InputStream {
  /** Calls without any effect; one may only have moved bytes within the inflater. */
  private static final int IDLE = 3;

  private final InputStream source;
  private final GzipInflater inflater;
  private final byte[] input = new byte[GzipInflater.inputSize()];
  private int given; // bytes at the beginning of the input
  private boolean ended;

  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // closed by close()
  GzipStream(InputStream source) {
    this.source = source;
    this.inflater = GzipInflater.open();
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
    int idle = 0;
    while (!ended) {
      int n = inflater.inflate(buffer, offset, length);
      if (n > 0) {
        return n;
      }
      if (inflater.finished()) {
        ended = !beginsAnother();
        idle = 0;
      } else if (inflater.unused() == 0) {
        given = source.read(input, 0, input.length);
        if (given < 0) {
          throw new EOFException("it ends within a gzip member");
        }
        inflater.give(input, 0, given);
        idle = 0;
      } else if (++idle == IDLE) {
        throw new IOException("the inflater stands still");
      }
    }
    return -1;
  }

  private boolean beginsAnother() throws IOException {
    int left = inflater.unused();
    System.arraycopy(input, given - left, input, 0, left);
    if (left < 2) {
      left += source.readNBytes(input, left, input.length - left);
    }
    if (left < 2 || (input[0] & 0xff) != 0x1f || (input[1] & 0xff) != 0x8b) {
      return false;
    }
    given = left;
    inflater.nextMember();
    inflater.give(input, 0, given);
    return true;
  }

  @Override
  public void close() throws IOException {
    inflater.close();
    ended = true;
    source.close();
  }
}
