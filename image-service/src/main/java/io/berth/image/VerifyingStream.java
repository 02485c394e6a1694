package io.berth.image;

import io.berth.image.ImageException.Reason;
import io.berth.linux.Sha256;
import io.berth.oci.Digest;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.security.MessageDigest;

/**
 * Hashes what is read and compares at the end: a reader that has seen the end has seen the promised
 * content, otherwise reading throws CORRUPT.
 */
final class VerifyingStream extends FilterInputStream {
  private static final long UNKNOWN = -1;

  private final String what;
  private final Digest expected;
  private final long size;
  private final MessageDigest hash;
  private long count;
  private boolean ended;

  /**
   * @param what names the content in errors
   * @param size in bytes, no more is read
   */
  VerifyingStream(InputStream source, String what, Digest expected, long size) {
    super(source);
    this.what = what;
    this.expected = expected;
    this.size = size;
    this.hash = expected.algorithm().equals(Digest.SHA256) ? Sha256.start() : expected.newHash();
  }

  /** Of unknown size. */
  VerifyingStream(InputStream source, String what, Digest expected) {
    this(source, what, expected, UNKNOWN);
  }

  @Override
  public int read() throws IOException {
    byte[] one = new byte[1];
    return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
  }

  @Override
  public int read(byte[] buffer, int offset, int length) throws IOException {
    int read = in.read(buffer, offset, length);
    if (read > 0) {
      hash.update(buffer, offset, read);
      count += read;
      if (size != UNKNOWN && count > size) {
        throw corrupt("goes on after the " + size + " bytes promised");
      }
    } else if (read < 0 && !ended) {
      ended = true;
      if (size != UNKNOWN && count != size) {
        throw corrupt("ends after " + count + " of the " + size + " bytes promised");
      }
      Digest actual = Digest.of(expected.algorithm(), hash.digest());
      if (!actual.equals(expected)) {
        throw corrupt("has the digest " + actual + " instead of " + expected);
      }
    }
    return read;
  }

  /** Skipping would leave bytes unhashed. */
  @Override
  public long skip(long count) throws IOException {
    byte[] scratch = new byte[(int) Math.min(count, 8192)];
    long skipped = 0;
    while (skipped < count) {
      int read = read(scratch, 0, (int) Math.min(count - skipped, scratch.length));
      if (read < 0) {
        break;
      }
      skipped += read;
    }
    return skipped;
  }

  @Override
  public boolean markSupported() {
    return false;
  }

  /** Reads the rest, and so verifies. */
  void drain() throws IOException {
    byte[] scratch = new byte[64 << 10];
    while (read(scratch, 0, scratch.length) >= 0) {
      // Only the hash is wanted.
    }
  }

  private ImageException corrupt(String how) {
    return new ImageException(
        Reason.CORRUPT, what + " " + how + "; pull again, or have the image pushed anew");
  }
}
