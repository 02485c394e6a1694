package io.berth.image;

import io.berth.image.TarEntry.SparseMap;
import io.berth.linux.FileName;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * Reads tar archives in the dialects that images come in: v7, ustar, pax (POSIX.1-2001), GNU with
 * its sparse forms, star.
 *
 * <p>Of our own rather than commons-compress's, which turns extended attributes into text and so
 * destroys file capabilities, keeps names as text too, and reads long names and extended headers of
 * any size into memory.
 *
 * <p>Reads ahead in its stream. Stops at the end mark; what follows that is left to the owner of
 * the stream.
 */
final class TarReader {
  private static final int BLOCK = 512;
  private static final int MOST_EXTENTS = 1 << 18;

  /** Headers that may stand before one entry; every dialect gets by with three. */
  private static final int MOST_HEADERS = 64;

  private static final String XATTR = "SCHILY.xattr.";

  /** Told of everything in an archive besides what {@link TarReader#read} gives out. */
  interface Tee {
    void raw(byte[] bytes, int offset, int length);
  }

  private final InputStream in;
  private final int headerLimit;
  private final Tee tee;
  private final byte[] buffer;
  private final byte[] header = new byte[BLOCK];
  private int at;
  private int end;

  /** What is left of the current entry's content, and the padding behind it. */
  private long content;

  private int padding;
  private boolean finished;

  /**
   * @param headerLimit most bytes of one extended header or long name; what is longer is refused
   * @param buffer to read ahead into, of one block at least
   */
  TarReader(InputStream in, int headerLimit, Tee tee, byte[] buffer) {
    this.in = in;
    this.buffer = buffer;
    this.headerLimit = headerLimit;
    this.tee = tee;
  }

  /**
   * The next entry; what hasn't been read of the one before is skipped.
   *
   * @return null at the end
   * @throws TarFormatException if the archive is malformed or ends too early; other exceptions are
   *     the stream's own
   */
  @Nullable TarEntry next() throws IOException {
    Map<String, byte[]> pax = Map.of();
    List<long[]> paxExtents = List.of();
    byte @Nullable [] longName = null;
    byte @Nullable [] longLink = null;
    for (int headers = 0; ; headers++) {
      if (headers > MOST_HEADERS) {
        throw new TarFormatException(
            "there are more than " + MOST_HEADERS + " headers of one entry");
      }
      skip(content + padding);
      content = 0;
      padding = 0;
      if (finished || !readHeader()) {
        finished = true;
        if (longName != null || longLink != null || !pax.isEmpty()) {
          throw new TarFormatException("the archive ends between an extended header and its entry");
        }
        return null;
      }
      char type = (char) (header[156] & 0xff);
      long size = number(124, 12, "size");
      switch (type) {
        case 'L' -> longName = terminated(special(size, "long name"));
        case 'K' -> longLink = terminated(special(size, "long link name"));
        case 'x', 'X' -> {
          pax = new HashMap<>();
          paxExtents = new ArrayList<>();
          readPax(special(size, "extended header"), pax, paxExtents);
        }
        // Global headers carry a commit id or a comment in practice; a volume label says nothing of
        // files.
        case 'g', 'V' -> {
          byte[] _ = special(size, "global header");
        }
        default -> {
          return entry(type, size, pax, paxExtents, longName, longLink);
        }
      }
    }
  }

  /** Content of the current entry that hasn't been read. */
  long remaining() {
    return content;
  }

  /** Moves content into a buffer: at least one byte unless there's none left or no room. */
  void read(ByteBuffer to) throws IOException {
    move(to, false);
  }

  /**
   * Reads to the end of the stream, behind that of the archive.
   *
   * @param most bytes that there may be; a compressed end could go on for days
   * @throws TarFormatException if there are more
   */
  void readOut(long most) throws IOException {
    long count = 0;
    do {
      count += end - at;
      if (count > most) {
        throw new TarFormatException("more than " + most + " bytes follow the end of the archive");
      }
      tee.raw(buffer, at, end - at);
      at = end;
    } while (refill());
  }

  private void move(ByteBuffer to, boolean raw) throws IOException {
    int wanted = (int) Math.min(content, to.remaining());
    while (wanted > 0) {
      if (at == end) {
        fill("in the middle of a file");
      }
      int n = Math.min(wanted, end - at);
      to.put(buffer, at, n);
      if (raw) {
        tee.raw(buffer, at, n);
      }
      at += n;
      content -= n;
      wanted -= n;
    }
  }

  private TarEntry entry(
      char flag,
      long headerSize,
      Map<String, byte[]> pax,
      List<long[]> paxExtents,
      byte @Nullable [] longName,
      byte @Nullable [] longLink)
      throws IOException {
    String name = name(pax, longName);
    TarEntry.Type type =
        switch (flag) {
          case '\0' -> name.endsWith("/") ? TarEntry.Type.FOLDER : TarEntry.Type.FILE;
          case '0', '7', 'S' -> TarEntry.Type.FILE;
          case '1' -> TarEntry.Type.HARD_LINK;
          case '2' -> TarEntry.Type.SYMLINK;
          case '3' -> TarEntry.Type.CHARACTER_DEVICE;
          case '4' -> TarEntry.Type.BLOCK_DEVICE;
          case '5', 'D' -> TarEntry.Type.FOLDER;
          case '6' -> TarEntry.Type.FIFO;
          default ->
              throw new TarFormatException(
                  "entry " + name + " is of unknown type '" + printable(flag) + "'");
        };
    long size = paxNumber(pax, "size").orElse(headerSize);
    if (size < 0) {
      throw new TarFormatException("entry " + name + " has a negative size");
    }
    // Links, devices and folders carry a size in some archives, but never content; GNU's dump
    // folders do.
    boolean hasContent = type == TarEntry.Type.FILE || flag == 'D';
    setContent(hasContent ? size : 0);
    byte[] linkPath = pax.get("linkpath");
    String link =
        linkPath != null
            ? FileName.decode(linkPath)
            : longLink != null ? FileName.decode(longLink) : text(157, 100);
    if (name.indexOf('\0') >= 0 || link.indexOf('\0') >= 0) {
      throw new TarFormatException("a name has a NUL byte in it");
    }
    long seconds = number(136, 12, "mtime");
    int nanos = 0;
    byte[] mtime = pax.get("mtime");
    if (mtime != null) {
      long[] time = time(mtime);
      seconds = time[0];
      nanos = (int) time[1];
    }
    boolean device = type == TarEntry.Type.CHARACTER_DEVICE || type == TarEntry.Type.BLOCK_DEVICE;
    int mode = (int) number(100, 8, "mode") & 07777;
    long uid = paxNumber(pax, "uid").orElse(number(108, 8, "uid"));
    long gid = paxNumber(pax, "gid").orElse(number(116, 8, "gid"));
    long major = device ? number(329, 8, "device") : 0;
    long minor = device ? number(337, 8, "device") : 0;
    // Last, because a sparse map may go on in blocks that take the header's place.
    SparseMap sparse = type == TarEntry.Type.FILE ? sparse(flag, pax, paxExtents) : null;
    return new TarEntry(
        name,
        type,
        content,
        link,
        mode,
        uid,
        gid,
        seconds,
        nanos,
        major,
        minor,
        xattrs(pax),
        sparse);
  }

  private String name(Map<String, byte[]> pax, byte @Nullable [] longName) {
    byte[] sparseName = pax.get("GNU.sparse.name");
    byte[] path = sparseName != null ? sparseName : pax.get("path");
    if (path != null) {
      return FileName.decode(path);
    }
    if (longName != null) {
      return FileName.decode(longName);
    }
    String name = text(0, 100);
    // POSIX's magic has a NUL behind it; GNU's has a blank, and other things where the prefix would
    // be.
    if (matches(257, "ustar\0")) {
      String prefix = text(345, matches(508, "tar\0") ? 131 : 155);
      return prefix.isEmpty() ? name : prefix + "/" + name;
    }
    return name;
  }

  private static Map<String, byte[]> xattrs(Map<String, byte[]> pax) {
    Map<String, byte[]> xattrs = null;
    for (Map.Entry<String, byte[]> record : pax.entrySet()) {
      if (record.getKey().startsWith(XATTR)) {
        xattrs = xattrs == null ? new LinkedHashMap<>() : xattrs;
        xattrs.put(record.getKey().substring(XATTR.length()), record.getValue());
      }
    }
    return xattrs == null ? Map.of() : xattrs;
  }

  // Blocks

  /** False at the end: a block of zeros, or no more bytes. */
  private boolean readHeader() throws IOException {
    if (!readBlock(true)) {
      return false;
    }
    int unsigned = 0;
    int signed = 0;
    boolean zeros = true;
    for (int i = 0; i < BLOCK; i++) {
      byte b = header[i];
      zeros &= b == 0;
      byte counted = i >= 148 && i < 156 ? (byte) ' ' : b;
      unsigned += counted & 0xff;
      signed += counted; // some old programs summed signed characters
    }
    if (zeros) {
      return false;
    }
    long sum = number(148, 8, "checksum");
    if (sum != unsigned && sum != signed) {
      throw new TarFormatException(
          "a header's checksum is wrong: this is no tar archive, or a damaged one");
    }
    return true;
  }

  private boolean readBlock(boolean mayEnd) throws IOException {
    int got = 0;
    while (got < BLOCK) {
      if (at == end) {
        if (mayEnd && got == 0) {
          if (!refill()) {
            return false;
          }
        } else {
          fill("in the middle of a header");
        }
      }
      int n = Math.min(BLOCK - got, end - at);
      System.arraycopy(buffer, at, header, got, n);
      tee.raw(buffer, at, n);
      at += n;
      got += n;
    }
    return true;
  }

  private boolean refill() throws IOException {
    at = 0;
    end = 0;
    int n = in.read(buffer, 0, buffer.length);
    if (n < 0) {
      return false;
    }
    end = n;
    return n > 0 || refill();
  }

  private void fill(String where) throws IOException {
    if (!refill()) {
      throw new TarFormatException("the archive ends " + where);
    }
  }

  private void skip(long count) throws IOException {
    long left = count;
    while (left > 0) {
      if (at == end) {
        fill("in the middle of a file");
      }
      int n = (int) Math.min(left, end - at);
      tee.raw(buffer, at, n);
      at += n;
      left -= n;
    }
  }

  private void setContent(long size) throws TarFormatException {
    if (size < 0 || size > Long.MAX_VALUE - BLOCK) {
      throw new TarFormatException("an entry has an impossible size");
    }
    content = size;
    padding = (int) (-size & (BLOCK - 1));
  }

  /** The content of a header that describes the next entry. */
  private byte[] special(long size, String what) throws IOException {
    if (size < 0 || size > headerLimit) {
      throw new TarFormatException(
          what + " of " + size + " bytes, at most " + headerLimit + " are allowed");
    }
    setContent(size);
    byte[] bytes = new byte[(int) size];
    move(ByteBuffer.wrap(bytes), true);
    return bytes;
  }

  // Fields

  private boolean matches(int offset, String ascii) {
    byte[] expected = ascii.getBytes(StandardCharsets.ISO_8859_1);
    return Arrays.equals(header, offset, offset + expected.length, expected, 0, expected.length);
  }

  private String text(int offset, int length) {
    int stop = offset;
    while (stop < offset + length && header[stop] != 0) {
      stop++;
    }
    return FileName.decode(header, offset, stop);
  }

  private static byte[] terminated(byte[] bytes) {
    int stop = 0;
    while (stop < bytes.length && bytes[stop] != 0) {
      stop++;
    }
    return Arrays.copyOf(bytes, stop);
  }

  /**
   * Octal digits, or in GNU's and star's extension a two's complement number with the highest bit
   * as its mark.
   */
  private long number(int offset, int length, String what) throws TarFormatException {
    if ((header[offset] & 0x80) != 0) {
      // The mark is bit 7; bit 6 is the sign.
      long value = (header[offset] & 0x40) != 0 ? (header[offset] | ~0x7fL) : header[offset] & 0x3f;
      for (int i = 1; i < length; i++) {
        if (value > (Long.MAX_VALUE >> 8) || value < (Long.MIN_VALUE >> 8)) {
          throw new TarFormatException("the " + what + " of an entry is too large");
        }
        value = (value << 8) | (header[offset + i] & 0xff);
      }
      return value;
    }
    long value = 0;
    boolean digits = false;
    for (int i = offset; i < offset + length; i++) {
      byte b = header[i];
      if (b >= '0' && b <= '7') {
        value = (value << 3) | (b - '0');
        digits = true;
      } else if (b == 0 || b == ' ') {
        if (digits) {
          return value;
        }
      } else {
        throw new TarFormatException("the " + what + " of an entry is no octal number");
      }
    }
    return value;
  }

  // Extended headers, pax(1) "pax Extended Header": LENGTH KEYWORD=VALUE\n, the length counting the
  // whole record

  private static void readPax(byte[] bytes, Map<String, byte[]> records, List<long[]> extents)
      throws TarFormatException {
    int start = 0;
    while (start < bytes.length && bytes[start] != 0) {
      int blank = start;
      long length = 0;
      while (blank < bytes.length
          && bytes[blank] >= '0'
          && bytes[blank] <= '9'
          && length <= bytes.length) {
        length = length * 10 + (bytes[blank] - '0');
        blank++;
      }
      int stop = (int) Math.min(start + length, Integer.MAX_VALUE);
      int equals = blank + 1;
      while (equals < Math.min(stop, bytes.length) && bytes[equals] != '=') {
        equals++;
      }
      if (stop > bytes.length
          || blank == start
          || blank >= stop
          || bytes[blank] != ' '
          || equals >= stop - 1
          || bytes[stop - 1] != '\n') {
        throw new TarFormatException("an extended header is malformed at byte " + start);
      }
      String key = new String(bytes, blank + 1, equals - blank - 1, StandardCharsets.UTF_8);
      byte[] value = Arrays.copyOfRange(bytes, equals + 1, stop - 1);
      switch (key) {
        // GNU's sparse form 0.0 repeats these two, once for every piece.
        case "GNU.sparse.offset" -> extents.add(new long[] {decimal(value, key), 0});
        case "GNU.sparse.numbytes" -> {
          if (extents.isEmpty()) {
            throw new TarFormatException("a sparse map begins with a length");
          }
          extents.getLast()[1] = decimal(value, key);
        }
        default -> {
          // An empty value takes back what an earlier record said; an attribute may well be empty.
          if (value.length == 0 && !key.startsWith(XATTR)) {
            records.remove(key);
          } else {
            records.put(key, value);
          }
        }
      }
      start = stop;
    }
  }

  private static OptionalLong paxNumber(Map<String, byte[]> pax, String key)
      throws TarFormatException {
    byte[] value = pax.get(key);
    return value == null ? OptionalLong.empty() : OptionalLong.of(decimal(value, key));
  }

  private static long decimal(byte[] value, String what) throws TarFormatException {
    try {
      return Long.parseLong(new String(value, StandardCharsets.ISO_8859_1));
    } catch (NumberFormatException e) {
      throw new TarFormatException("the " + what + " of an extended header is no number");
    }
  }

  /** Seconds and nanoseconds of a decimal fraction; digits past the ninth are dropped. */
  private static long[] time(byte[] value) throws TarFormatException {
    String text = new String(value, StandardCharsets.ISO_8859_1);
    int dot = text.indexOf('.');
    long seconds =
        decimal(value.length == 0 || dot < 0 ? value : Arrays.copyOf(value, dot), "mtime");
    long nanos = 0;
    if (dot >= 0) {
      String digits = (text.substring(dot + 1) + "000000000").substring(0, 9);
      nanos = decimal(digits.getBytes(StandardCharsets.ISO_8859_1), "mtime");
      if (nanos > 0 && text.startsWith("-")) { // -1.25 is a quarter before -1: second -2, and 0.75
        seconds--;
        nanos = 1_000_000_000 - nanos;
      }
    }
    return new long[] {seconds, nanos};
  }

  // Sparse files, tar's manual, appendix "Storing Sparse Files"

  private @Nullable SparseMap sparse(char flag, Map<String, byte[]> pax, List<long[]> paxExtents)
      throws IOException {
    Extents extents = new Extents();
    long fileSize;
    if (flag == 'S') {
      fileSize = number(483, 12, "size");
      readOldExtents(extents);
    } else if (pax.containsKey("GNU.sparse.major")) {
      fileSize = paxNumber(pax, "GNU.sparse.realsize").orElse(-1);
      readLeadingExtents(extents);
    } else if (pax.containsKey("GNU.sparse.map")) {
      fileSize = paxNumber(pax, "GNU.sparse.size").orElse(-1);
      String[] numbers =
          new String(pax.get("GNU.sparse.map"), StandardCharsets.ISO_8859_1).split(",", -1);
      for (String number : numbers) {
        extents.add(decimal(number.getBytes(StandardCharsets.ISO_8859_1), "sparse map"));
      }
    } else if (pax.containsKey("GNU.sparse.size")) {
      fileSize = paxNumber(pax, "GNU.sparse.size").orElse(-1);
      for (long[] extent : paxExtents) {
        extents.add(extent[0]);
        extents.add(extent[1]);
      }
    } else {
      return null;
    }
    return extents.checked(fileSize, content);
  }

  /**
   * Form "old GNU": four pieces in the header, 21 in each block that may follow and takes its place
   * here.
   */
  private void readOldExtents(Extents extents) throws IOException {
    int offset = 386;
    int pieces = 4;
    while (true) {
      for (int field = offset; field < offset + 24 * pieces && header[field] != 0; field += 24) {
        extents.add(number(field, 12, "sparse map"));
        extents.add(number(field + 12, 12, "sparse map"));
      }
      if (header[offset + 24 * pieces] == 0) {
        return;
      }
      boolean _ = readBlock(false);
      offset = 0;
      pieces = 21;
    }
  }

  /** Form 1.0: decimal lines at the beginning of the content, filled up to a whole block. */
  private void readLeadingExtents(Extents extents) throws IOException {
    long before = content;
    long count = line();
    for (long i = 0; i < 2 * count; i++) {
      extents.add(line());
    }
    long used = before - content;
    long fill = Math.min(-used & (BLOCK - 1), content);
    skip(fill);
    content -= fill;
  }

  private long line() throws IOException {
    ByteBuffer one = ByteBuffer.allocate(1);
    long value = 0;
    for (int digits = 0; digits < 20 && content > 0; digits++) {
      move(one.clear(), true);
      int b = one.get(0);
      if (b == '\n' && digits > 0) {
        return value;
      }
      if (b < '0' || b > '9' || value > Long.MAX_VALUE / 10 - 9) {
        break;
      }
      value = value * 10 + (b - '0');
    }
    throw new TarFormatException("a sparse map is malformed");
  }

  private static final class Extents {
    private long[] numbers = new long[16];
    private int count;

    void add(long number) throws TarFormatException {
      if (count == 2 * MOST_EXTENTS) {
        throw new TarFormatException("a sparse file has more than " + MOST_EXTENTS + " pieces");
      }
      if (count == numbers.length) {
        numbers = Arrays.copyOf(numbers, 2 * count);
      }
      numbers[count++] = number;
    }

    /** Ascending, apart, inside the file, and as long together as the content. */
    SparseMap checked(long fileSize, long content) throws TarFormatException {
      long position = 0;
      long sum = 0;
      boolean good = fileSize >= 0 && count % 2 == 0;
      for (int i = 0; good && i < count; i += 2) {
        long offset = numbers[i];
        long length = numbers[i + 1];
        good =
            offset >= position && length >= 0 && offset <= fileSize && length <= fileSize - offset;
        position = offset + length;
        sum += length;
      }
      if (!good || sum != content) {
        throw new TarFormatException("a sparse map doesn't fit its file");
      }
      return new SparseMap(Arrays.copyOf(numbers, count), fileSize);
    }
  }

  private static String printable(char c) {
    return c > ' ' && c < 127 ? String.valueOf(c) : String.format("\\x%02x", (int) c);
  }
}
