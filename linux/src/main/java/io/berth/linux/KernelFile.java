package io.berth.linux;

import com.sun.jna.Native;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Reads the small files that the kernel writes anew at each reading, those of cgroups and of /proc,
 * and takes them apart without making text of them. A pass over all containers reads thousands, so
 * one buffer serves them all; for one thread at a time.
 *
 * <pre>{@code
 * if (file.read(folder, CPU_STAT)) {              // each line of it is "key value"
 *   while (file.nextLine()) {
 *     if (file.nextWord() && file.isWord(USAGE_USEC) && file.nextWord()) { ... file.number() ... }
 *   }
 * }
 * }</pre>
 */
public final class KernelFile {
  /** What no file says. */
  public static final long ABSENT = Long.MIN_VALUE;

  /**
   * A page of lines is cut short where the next line no longer fits (seq_file), and no line is half
   * as long: what is shorter than this is whole, and needs no second read to tell.
   */
  private static final int SURELY_WHOLE = 2048;

  private byte[] buffer = new byte[4096];
  private byte[] path = new byte[256];
  private int length;
  private int lineEnd;
  private int wordStart;
  private int wordEnd;

  /** The name of a file or folder as {@link #read} takes it. */
  public static byte[] name(String text) {
    byte[] name = FileName.encode(text);
    return Arrays.copyOf(name, name.length);
  }

  /**
   * Reads a file whole; what it said before is forgotten.
   *
   * @param folder absolute, see {@link #name}
   * @return false when there is no such file any more, or it can't be read now
   */
  public boolean read(byte[] folder, byte[] file) {
    int fd = open(folder, file);
    if (fd < 0) {
      return refused("open", folder, file);
    }
    try {
      return fill(fd) || refused("read", folder, file);
    } finally {
      var _ = Libc.close(fd);
    }
  }

  /** As {@link #read(byte[], byte[])}, of a folder that keeps its files open. */
  public boolean read(KernelFolder folder, byte[] file) {
    int kept = folder.kept(file);
    if (kept >= 0) {
      if (fill(kept)) {
        return true;
      }
      folder.drop(file); // what it was of has gone; there may be another one of that name
    }
    int fd = open(folder.path(), file);
    if (fd < 0) {
      return refused("open", folder.path(), file);
    }
    boolean keep = false;
    try {
      boolean whole = fill(fd) || refused("read", folder.path(), file);
      keep = whole && folder.keep(file, fd);
      return whole;
    } finally {
      if (!keep) {
        var _ = Libc.close(fd);
      }
    }
  }

  private int open(byte[] folder, byte[] file) {
    int needed = folder.length + file.length + 2;
    if (path.length < needed) {
      path = new byte[needed * 2];
    }
    System.arraycopy(folder, 0, path, 0, folder.length);
    path[folder.length] = '/';
    System.arraycopy(file, 0, path, folder.length + 1, file.length);
    path[needed - 1] = 0;
    length = 0;
    lineEnd = -1;
    return Libc.open(path, Libc.O_RDONLY | Libc.O_CLOEXEC, 0);
  }

  /** From the beginning of the file, wherever it was read to before. */
  private boolean fill(int fd) {
    length = 0;
    lineEnd = -1;
    while (true) {
      byte[] into = length == 0 ? buffer : new byte[buffer.length];
      long n = Libc.pread(fd, into, into.length, length);
      if (n < 0) {
        if (Native.getLastError() == Errno.EINTR) {
          continue;
        }
        length = 0;
        return false;
      }
      if (length > 0) {
        if (length + n > buffer.length) {
          buffer = Arrays.copyOf(buffer, buffer.length * 2);
        }
        System.arraycopy(into, 0, buffer, length, (int) n);
      }
      length += (int) n;
      if (n == 0 || length < SURELY_WHOLE) {
        return true;
      }
    }
  }

  /**
   * Most errors mean that the cgroup or process has gone, or that this kernel keeps no such count.
   */
  private static boolean refused(String operation, byte[] folder, byte[] file) {
    int errno = Native.getLastError();
    if (errno == Errno.EMFILE || errno == Errno.ENFILE || errno == Errno.ENOMEM) {
      throw new ErrnoException(
          operation
              + " "
              + FileName.decode(folder)
              + "/"
              + new String(file, StandardCharsets.ISO_8859_1),
          errno);
    }
    return false;
  }

  /** The number that a file of one number holds; {@link #ABSENT} when it says "max", say. */
  public long readNumber(byte[] folder, byte[] file) {
    return read(folder, file) && nextLine() && nextWord() ? number() : ABSENT;
  }

  /** As {@link #readNumber(byte[], byte[])}, of a folder that keeps its files open. */
  public long readNumber(KernelFolder folder, byte[] file) {
    return read(folder, file) && nextLine() && nextWord() ? number() : ABSENT;
  }

  /**
   * The values of a file with one "key value" a line.
   *
   * @param values of each key its value, or {@link #ABSENT}; filled here
   * @return false when there is no such file
   */
  public boolean readTable(KernelFolder folder, byte[] file, Keys keys, long[] values) {
    Arrays.fill(values, ABSENT);
    if (!read(folder, file)) {
      return false;
    }
    while (nextLine()) {
      if (nextWord()) {
        int key = keys.indexOf(buffer, wordStart, wordEnd);
        if (key >= 0 && nextWord()) {
          values[key] = number();
        }
      }
    }
    return true;
  }

  /** How many lines there are. */
  public int lines() {
    int lines = 0;
    for (int i = 0; i < length; i++) {
      if (buffer[i] == '\n') {
        lines++;
      }
    }
    return lines;
  }

  /** Goes on to the next line, at first to the first. */
  public boolean nextLine() {
    int start = lineEnd + 1;
    if (start >= length) {
      return false;
    }
    int end = start;
    while (end < length && buffer[end] != '\n') {
      end++;
    }
    lineEnd = end;
    wordStart = start;
    wordEnd = start;
    return true;
  }

  /** Goes on to the next word of the line: blanks, '=' and ':' stand between words. */
  public boolean nextWord() {
    int start = wordEnd;
    while (start < lineEnd && separates(buffer[start])) {
      start++;
    }
    int end = start;
    while (end < lineEnd && !separates(buffer[end])) {
      end++;
    }
    wordStart = start;
    wordEnd = end;
    return end > start;
  }

  /** As {@link #nextWord()}, so many times. */
  public boolean nextWord(int times) {
    boolean found = true;
    for (int i = 0; i < times && found; i++) {
      found = nextWord();
    }
    return found;
  }

  private static boolean separates(byte b) {
    return b == ' ' || b == '=' || b == ':' || b == '\t';
  }

  /** Whether the word is this. */
  public boolean isWord(byte[] word) {
    return Arrays.equals(buffer, wordStart, wordEnd, word, 0, word.length);
  }

  public String word() {
    return new String(buffer, wordStart, wordEnd - wordStart, StandardCharsets.ISO_8859_1);
  }

  /** The word as a whole number; {@link #ABSENT} when it is none, or larger than a long. */
  public long number() {
    int at = wordStart;
    boolean negative = at < wordEnd && buffer[at] == '-';
    if (negative) {
      at++;
    }
    if (at == wordEnd || wordEnd - at > 19) {
      return ABSENT;
    }
    long value = 0;
    for (; at < wordEnd; at++) {
      int digit = buffer[at] - '0';
      if (digit < 0 || digit > 9) {
        return ABSENT;
      }
      value = value * 10 + digit;
      if (value < 0) {
        return ABSENT;
      }
    }
    return negative ? -value : value;
  }

  /** The word as a number with a fraction; NaN when it is none. */
  public double decimal() {
    try {
      return Double.parseDouble(word());
    } catch (NumberFormatException e) {
      return Double.NaN;
    }
  }

  /** The keys wanted of a table, found by their bytes. */
  public static final class Keys {
    private final byte[][] keys;
    private final int[] slots;
    private final int mask;

    public Keys(String... wanted) {
      keys = new byte[wanted.length][];
      mask = Integer.highestOneBit(wanted.length * 4) - 1;
      slots = new int[mask + 1];
      for (int i = 0; i < wanted.length; i++) {
        keys[i] = wanted[i].getBytes(StandardCharsets.US_ASCII);
        int slot = hash(keys[i], 0, keys[i].length) & mask;
        while (slots[slot] != 0) {
          slot = (slot + 1) & mask;
        }
        slots[slot] = i + 1;
      }
    }

    public int size() {
      return keys.length;
    }

    private int indexOf(byte[] text, int from, int to) {
      int slot = hash(text, from, to) & mask;
      while (slots[slot] != 0) {
        byte[] key = keys[slots[slot] - 1];
        if (Arrays.equals(text, from, to, key, 0, key.length)) {
          return slots[slot] - 1;
        }
        slot = (slot + 1) & mask;
      }
      return -1;
    }

    private static int hash(byte[] text, int from, int to) {
      int hash = 0;
      for (int i = from; i < to; i++) {
        hash = hash * 31 + text[i];
      }
      return hash ^ (hash >>> 15);
    }
  }
}
