package io.berth.snapshot;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.linux.FileName;
import io.berth.linux.Sha256;
import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.SortedMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The file {@code manifest} of a layer: what its tree was when it was committed, in the order of a
 * walk that goes through each folder by name. So it is written and compared as a stream, whatever
 * the layer's size.
 *
 * <pre>
 * "berthml1", chain ID, parent ("" for none), diff ID
 * entry*   kind, name, mode, uid, gid, attributes; then by kind
 *            file: size, digest    link: target    device: major, minor
 *            folder: its entries, end
 * end of all, bytes and inodes of the tree
 * SHA-256 of everything before
 * </pre>
 *
 * Numbers are of variable length, seven bits a byte; texts and values have their length in front.
 */
final class LayerManifest {
  static final byte FILE = 'f';

  /** A file with holes, whose digest leaves them out: {@link FileContent#sparseDigest}. */
  static final byte SPARSE = 'h';

  static final byte FOLDER = 'd';
  static final byte LINK = 'l';
  static final byte CHARACTER_DEVICE = 'c';
  static final byte BLOCK_DEVICE = 'b';
  static final byte FIFO = 'p';
  static final byte SOCKET = 's';
  static final byte FOLDER_END = 'e';
  static final byte END = 'z';

  private static final byte[] MAGIC = {'b', 'e', 'r', 't', 'h', 'm', 'l', '1'};
  private static final int LONGEST = 1 << 16; // of names, link targets and attributes

  private LayerManifest() {}

  /**
   * One entry.
   *
   * @param size of a file
   * @param digest of a file
   * @param target of a link
   * @param attributes by name
   */
  @SuppressWarnings("ArrayRecordComponent") // compared field by field
  record Entry(
      byte kind,
      String name,
      int mode,
      int uid,
      int gid,
      SortedMap<String, byte[]> attributes,
      long size,
      byte[] digest,
      String target,
      int major,
      int minor) {
    static final byte[] NONE = new byte[0];

    boolean isFile() {
      return kind == FILE || kind == SPARSE;
    }
  }

  /** What stands at the top. */
  record Head(ChainId chainId, @Nullable ChainId parent, Digest diffId) {}

  /** A manifest that can't be read, or isn't what was written. */
  static final class Damaged extends IOException {
    private static final long serialVersionUID = 1L;

    Damaged(String message) {
      super(message);
    }
  }

  static final class Writer implements AutoCloseable {
    private final MessageDigest hash = Sha256.start();
    private final OutputStream file;
    private final DataOutputStream out;

    @MustBeClosed
    Writer(Path path, Head head) throws IOException {
      file = Files.newOutputStream(path);
      out = new DataOutputStream(new BufferedOutputStream(new Hashing(file), 16 << 10));
      out.write(MAGIC);
      text(head.chainId().toString());
      text(head.parent() == null ? "" : head.parent().toString());
      text(head.diffId().toString());
    }

    private final class Hashing extends FilterOutputStream {
      Hashing(OutputStream file) {
        super(file);
      }

      @Override
      public void write(int b) throws IOException {
        hash.update((byte) b);
        out.write(b);
      }

      @Override
      public void write(byte[] bytes, int offset, int length) throws IOException {
        hash.update(bytes, offset, length);
        out.write(bytes, offset, length);
      }
    }

    void entry(Entry entry) throws IOException {
      out.writeByte(entry.kind());
      text(entry.name());
      number(entry.mode());
      number(entry.uid() & 0xffffffffL);
      number(entry.gid() & 0xffffffffL);
      number(entry.attributes().size());
      for (var attribute : entry.attributes().entrySet()) {
        text(attribute.getKey());
        number(attribute.getValue().length);
        out.write(attribute.getValue());
      }
      switch (entry.kind()) {
        case FILE, SPARSE -> {
          number(entry.size());
          out.write(entry.digest());
        }
        case LINK -> text(entry.target());
        case CHARACTER_DEVICE, BLOCK_DEVICE -> {
          number(entry.major());
          number(entry.minor());
        }
        default -> {}
      }
    }

    void folderEnd() throws IOException {
      out.writeByte(FOLDER_END);
    }

    void end(Usage usage) throws IOException {
      out.writeByte(END);
      number(usage.bytes());
      number(usage.inodes());
      out.flush();
      file.write(hash.digest());
    }

    private void text(String text) throws IOException {
      byte[] bytes = FileName.encode(text);
      number(bytes.length);
      out.write(bytes);
    }

    private void number(long value) throws IOException {
      long rest = value;
      while ((rest & ~0x7fL) != 0) {
        out.writeByte((int) (rest & 0x7f) | 0x80);
        rest >>>= 7;
      }
      out.writeByte((int) rest);
    }

    @Override
    public void close() throws IOException {
      file.close();
    }
  }

  static final class Reader implements AutoCloseable {
    private final DataInputStream in;
    private final Head head;
    private @Nullable Usage usage;

    /**
     * Reads it whole once, to see that it is what was written, before anything in it is believed.
     *
     * @throws Damaged if it isn't
     */
    @MustBeClosed
    @SuppressWarnings("MustBeClosedChecker") // closed by close, and when the head can't be read
    Reader(Path path) throws IOException {
      requireIntact(path);
      in = new DataInputStream(new BufferedInputStream(Files.newInputStream(path), 64 << 10));
      try {
        byte[] magic = in.readNBytes(MAGIC.length);
        if (!Arrays.equals(magic, MAGIC)) {
          throw new Damaged("the manifest has another format");
        }
        ChainId chainId = new ChainId(Digest.parse(text()));
        String parent = text();
        head =
            new Head(
                chainId,
                parent.isEmpty() ? null : new ChainId(Digest.parse(parent)),
                Digest.parse(text()));
      } catch (IllegalArgumentException e) {
        in.close();
        throw new Damaged("the manifest has no usable head: " + e.getMessage());
      } catch (IOException e) {
        in.close();
        throw e;
      }
    }

    private static void requireIntact(Path path) throws IOException {
      MessageDigest hash = Sha256.start();
      long left = Files.size(path) - LayerDigests.SIZE;
      byte[] piece = new byte[64 << 10];
      try (InputStream all = Files.newInputStream(path)) {
        while (left > 0) {
          int n = all.read(piece, 0, (int) Math.min(piece.length, left));
          if (n < 0) {
            break;
          }
          hash.update(piece, 0, n);
          left -= n;
        }
        if (left != 0 || !Arrays.equals(all.readAllBytes(), hash.digest())) {
          throw new Damaged("the manifest itself is damaged");
        }
      }
    }

    Head head() {
      return head;
    }

    /** The next entry; null where a folder ends, and at the end of all. */
    @Nullable Entry next() throws IOException {
      byte kind = in.readByte();
      if (kind == FOLDER_END) {
        return null;
      }
      if (kind == END) {
        usage = new Usage(number(), number());
        return null;
      }
      String name = text();
      int mode = (int) number();
      int uid = (int) number();
      int gid = (int) number();
      SortedMap<String, byte[]> attributes = new TreeMap<>();
      for (long left = number(); left > 0; left--) {
        attributes.put(text(), bytes());
      }
      long size = 0;
      byte[] digest = Entry.NONE;
      String target = "";
      int major = 0;
      int minor = 0;
      switch (kind) {
        case FILE, SPARSE -> {
          size = number();
          digest = new byte[LayerDigests.SIZE];
          in.readFully(digest);
        }
        case LINK -> target = text();
        case CHARACTER_DEVICE, BLOCK_DEVICE -> {
          major = (int) number();
          minor = (int) number();
        }
        case FOLDER, FIFO, SOCKET -> {}
        default -> throw new Damaged("the manifest has an entry of an unknown kind " + kind);
      }
      return new Entry(kind, name, mode, uid, gid, attributes, size, digest, target, major, minor);
    }

    /** Leaves out what is in a folder whose entry was the last. */
    void skipFolder() throws IOException {
      for (Entry entry = next(); entry != null; entry = next()) {
        if (entry.kind() == FOLDER) {
          skipFolder();
        }
      }
    }

    /** Of the tree, once {@link #next} has come to the end of all. */
    Usage usage() throws Damaged {
      if (usage == null) {
        throw new Damaged("the manifest goes on behind the root folder");
      }
      return usage;
    }

    private String text() throws IOException {
      return FileName.decode(bytes());
    }

    private byte[] bytes() throws IOException {
      long length = number();
      if (length < 0 || length > LONGEST) {
        throw new Damaged("the manifest has a text of " + length + " bytes");
      }
      byte[] bytes = new byte[(int) length];
      in.readFully(bytes);
      return bytes;
    }

    private long number() throws IOException {
      long value = 0;
      for (int shift = 0; shift < 64; shift += 7) {
        byte part = in.readByte();
        value |= (part & 0x7fL) << shift;
        if (part >= 0) {
          return value;
        }
      }
      throw new Damaged("the manifest has a number without end");
    }

    @Override
    public void close() throws IOException {
      in.close();
    }
  }
}
