package io.berth.image;

import com.github.luben.zstd.ZstdInputStreamNoFinalizer;
import com.google.errorprone.annotations.MustBeClosed;
import io.berth.image.ImageException.Reason;
import io.berth.linux.GzipInflater;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PushbackInputStream;
import java.util.zip.GZIPInputStream;

/** Undoes a compression that is told by the first bytes, whatever the media type says. */
final class Compression {
  private static final int MAGIC = 6;
  private static final int INFLATER_BUFFER = 32 << 10;

  private Compression() {}

  /**
   * The plain content: of gzip all members, of zstd all frames, else the content as it is. The
   * stream ends only when the source has ended too, so what checks the source has seen all of it.
   *
   * @param what names the content in errors
   * @throws ImageException UNSUPPORTED for compressions that images don't use
   */
  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // handed on to the caller
  static InputStream open(InputStream source, String what) throws IOException {
    PushbackInputStream peekable =
        new PushbackInputStream(source, MAGIC) {
          @Override
          public int available() throws IOException {
            return in.available() + (buf.length - pos); // exact about the end, as the source is
          }
        };
    byte[] magic = peekable.readNBytes(MAGIC);
    peekable.unread(magic);
    if (startsWith(magic, 0x1f, 0x8b)) {
      return new ToTheEnd(gzip(peekable), peekable);
    }
    boolean skippableFrame =
        magic.length >= 4
            && (magic[0] & 0xf0) == 0x50
            && magic[1] == 0x2a
            && magic[2] == 0x4d
            && magic[3] == 0x18;
    if (skippableFrame || startsWith(magic, 0x28, 0xb5, 0x2f, 0xfd)) {
      return new ToTheEnd(new ZstdInputStreamNoFinalizer(peekable), peekable);
    }
    if (startsWith(magic, 'B', 'Z', 'h') || startsWith(magic, 0xfd, '7', 'z', 'X', 'Z', 0)) {
      String name = magic[0] == 'B' ? "bzip2" : "xz";
      throw new ImageException(
          Reason.UNSUPPORTED,
          what + " is compressed with " + name + "; rebuild it with gzip or zstd");
    }
    return peekable;
  }

  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // handed on to the caller
  private static InputStream gzip(InputStream source) throws IOException {
    return GzipInflater.isAvailable()
        ? new GzipStream(source)
        : new GZIPInputStream(source, INFLATER_BUFFER);
  }

  private static boolean startsWith(byte[] bytes, int... magic) {
    if (bytes.length < magic.length) {
      return false;
    }
    for (int i = 0; i < magic.length; i++) {
      if ((bytes[i] & 0xff) != magic[i]) {
        return false;
      }
    }
    return true;
  }

  /** Reads on in the source when the decompressor has finished, discarding what follows. */
  private static final class ToTheEnd extends FilterInputStream {
    private final InputStream source;

    ToTheEnd(InputStream decompressor, InputStream source) {
      super(decompressor);
      this.source = source;
    }

    @Override
    public int read(byte[] buffer, int offset, int length) throws IOException {
      int read = in.read(buffer, offset, length);
      if (read < 0) {
        source.skip(Long.MAX_VALUE);
      }
      return read;
    }
  }
}
