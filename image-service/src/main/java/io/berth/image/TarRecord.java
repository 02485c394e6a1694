package io.berth.image;

import com.github.luben.zstd.ZstdInputStreamNoFinalizer;
import com.github.luben.zstd.ZstdOutputStreamNoFinalizer;
import com.google.errorprone.annotations.MustBeClosed;
import io.berth.linux.FileName;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * What a layer's tree doesn't tell of the archive that it was unpacked from: headers, padding, what
 * follows the end. With it and the files the very same bytes can be made again, and so a layer with
 * the same diff ID.
 *
 * <pre>
 * zstd of: "berthtr1"
 * piece*   raw: length, bytes    content: path in the tree, offset, length
 * end      length of the whole archive
 * </pre>
 *
 * Numbers are of eight bytes: the compression makes little of them.
 */
final class TarRecord {
  private static final byte[] MAGIC = "berthtr1".getBytes(StandardCharsets.US_ASCII);
  private static final byte RAW = 'r';
  private static final byte CONTENT = 'c';
  private static final byte END = 'e';
  private static final int PIECE = 32 << 10;

  /** Beyond it no record is kept: a stranger's archive may be all padding. */
  private static final long MOST_RAW = 1L << 30;

  /** Little memory, as a pull writes several. */
  private static final int LEVEL = 1;

  private TarRecord() {}

  /** Hears a record from the beginning. */
  interface Listener {
    void raw(byte[] bytes, int length) throws IOException;

    /** Content of a file, as it is in the tree. */
    void content(String path, long offset, long length) throws IOException;
  }

  /** Writes a record while the archive is read; what fails is the disk's fault. */
  static final class Writer implements TarReader.Tee, AutoCloseable {
    private final Path file;
    private final DataOutputStream out;
    private final byte[] piece = new byte[PIECE];
    private int filled;
    private long raw;
    private long total;
    private boolean finished;

    @MustBeClosed
    @SuppressWarnings("MustBeClosedChecker") // closed by close()
    Writer(Path file) {
      this.file = file;
      try {
        out =
            new DataOutputStream(
                new BufferedOutputStream(
                    new ZstdOutputStreamNoFinalizer(Files.newOutputStream(file), LEVEL), PIECE));
        out.write(MAGIC);
      } catch (IOException e) {
        throw failure(e);
      }
    }

    private UncheckedIOException failure(IOException e) {
      return new UncheckedIOException("write " + file + ": " + e.getMessage(), e);
    }

    @Override
    public void raw(byte[] bytes, int offset, int length) {
      raw += length;
      total += length;
      int from = offset;
      int left = length;
      while (left > 0) {
        int n = Math.min(left, PIECE - filled);
        System.arraycopy(bytes, from, piece, filled, n);
        filled += n;
        from += n;
        left -= n;
        if (filled == PIECE) {
          flush();
        }
      }
    }

    private void flush() {
      if (filled > 0 && raw <= MOST_RAW) {
        try {
          out.writeByte(RAW);
          out.writeLong(filled);
          out.write(piece, 0, filled);
        } catch (IOException e) {
          throw failure(e);
        }
      }
      filled = 0;
    }

    /** The next bytes of the archive are in this file of the tree. */
    void content(String path, long offset, long length) {
      if (length == 0) {
        return;
      }
      flush();
      total += length;
      try {
        byte[] name = FileName.encode(path);
        out.writeByte(CONTENT);
        out.writeLong(name.length);
        out.write(name);
        out.writeLong(offset);
        out.writeLong(length);
      } catch (IOException e) {
        throw failure(e);
      }
    }

    /** Says that it is complete, without which it is none. */
    void finish() {
      flush();
      try {
        out.writeByte(END);
        out.writeLong(total);
        finished = raw <= MOST_RAW;
      } catch (IOException e) {
        throw failure(e);
      }
    }

    @Override
    public void close() {
      try {
        out.close();
        if (!finished) {
          Files.deleteIfExists(file);
        }
      } catch (IOException e) {
        throw failure(e);
      }
    }
  }

  /**
   * Tells a listener all of a record.
   *
   * @return the length of the archive
   * @throws IOException when the record is damaged, and what the listener throws
   */
  static long read(Path file, Listener listener) throws IOException {
    byte[] piece = new byte[PIECE];
    try (var in =
        new DataInputStream(
            new BufferedInputStream(
                new ZstdInputStreamNoFinalizer(Files.newInputStream(file)), PIECE))) {
      if (!Arrays.equals(in.readNBytes(MAGIC.length), MAGIC)) {
        throw new IOException("it has another format");
      }
      while (true) {
        byte kind = in.readByte();
        switch (kind) {
          case RAW -> {
            int length = bounded(in.readLong());
            in.readFully(piece, 0, length);
            listener.raw(piece, length);
          }
          case CONTENT -> {
            int length = bounded(in.readLong());
            in.readFully(piece, 0, length);
            listener.content(FileName.decode(piece, 0, length), in.readLong(), in.readLong());
          }
          case END -> {
            return in.readLong();
          }
          default -> throw new IOException("it has a piece of an unknown kind");
        }
      }
    }
  }

  /** The length of the archive that a record is about. */
  static long length(Path file) throws IOException {
    return read(
        file,
        new Listener() {
          @Override
          public void raw(byte[] bytes, int length) {}

          @Override
          public void content(String path, long offset, long length) {}
        });
  }

  private static int bounded(long length) throws IOException {
    if (length < 0 || length > PIECE) {
      throw new IOException("it has a piece of " + length + " bytes");
    }
    return (int) length;
  }
}
