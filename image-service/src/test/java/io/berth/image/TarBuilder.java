package io.berth.image;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Writes tar archives field by field, wrong ones as well as right ones: what no tar program would.
 */
final class TarBuilder {
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream pax = new ByteArrayOutputStream();
  private int mode = 0644;
  private long uid;
  private long gid;
  private long mtime = 1_000_000_000;
  private int major;
  private int minor;

  TarBuilder mode(int value) {
    mode = value;
    return this;
  }

  TarBuilder owner(long user, long group) {
    uid = user;
    gid = group;
    return this;
  }

  TarBuilder mtime(long seconds) {
    mtime = seconds;
    return this;
  }

  TarBuilder device(int first, int second) {
    major = first;
    minor = second;
    return this;
  }

  /** A record of the extended header of the next entry. */
  TarBuilder pax(String key, byte[] value) {
    int body = key.getBytes(StandardCharsets.UTF_8).length + value.length + 3; // blank, =, newline
    int length = body + Integer.toString(body).length();
    if (Integer.toString(length).length() != Integer.toString(body).length()) {
      length++;
    }
    pax.writeBytes((length + " " + key + "=").getBytes(StandardCharsets.UTF_8));
    pax.writeBytes(value);
    pax.write('\n');
    return this;
  }

  TarBuilder pax(String key, String value) {
    return pax(key, value.getBytes(StandardCharsets.UTF_8));
  }

  TarBuilder file(String name, String content) {
    return entry('0', name, "", content.getBytes(StandardCharsets.UTF_8));
  }

  TarBuilder folder(String name) {
    int fileMode = mode;
    mode = mode == 0644 ? 0755 : mode;
    entry('5', name, "", new byte[0]);
    mode = fileMode;
    return this;
  }

  TarBuilder symlink(String name, String target) {
    return entry('2', name, target, new byte[0]);
  }

  TarBuilder link(String name, String target) {
    return entry('1', name, target, new byte[0]);
  }

  /** Names longer than their fields go into GNU's long name entries. */
  TarBuilder entry(char type, String name, String link, byte[] content) {
    if (pax.size() > 0) {
      byte[] records = pax.toByteArray();
      pax.reset();
      header('x', "pax".getBytes(StandardCharsets.UTF_8), new byte[0], records.length);
      content(records);
    }
    byte[] nameBytes = name.getBytes(StandardCharsets.UTF_8);
    byte[] linkBytes = link.getBytes(StandardCharsets.UTF_8);
    longName('L', nameBytes);
    longName('K', linkBytes);
    header(type, nameBytes, linkBytes, content.length);
    content(content);
    return this;
  }

  private void longName(char type, byte[] name) {
    if (name.length > 100) {
      header(type, "././@LongLink".getBytes(StandardCharsets.UTF_8), new byte[0], name.length + 1);
      content(Arrays.copyOf(name, name.length + 1));
    }
  }

  TarBuilder header(char type, byte[] name, byte[] link, long size) {
    byte[] block = new byte[512];
    System.arraycopy(name, 0, block, 0, Math.min(100, name.length));
    octal(block, 100, 8, mode);
    number(block, 108, 8, uid);
    number(block, 116, 8, gid);
    number(block, 124, 12, size);
    number(block, 136, 12, mtime);
    block[156] = (byte) type;
    System.arraycopy(link, 0, block, 157, Math.min(100, link.length));
    put(block, 257, "ustar"); // and a NUL
    put(block, 263, "00");
    octal(block, 329, 8, major);
    octal(block, 337, 8, minor);
    return block(block);
  }

  /** A header block of the caller's, with the checksum made right. */
  TarBuilder block(byte[] block) {
    Arrays.fill(block, 148, 156, (byte) ' ');
    int sum = 0;
    for (byte b : block) {
      sum += b & 0xff;
    }
    octal(block, 148, 7, sum);
    out.writeBytes(block);
    return this;
  }

  TarBuilder content(byte[] bytes) {
    out.writeBytes(bytes);
    out.writeBytes(new byte[-bytes.length & 511]);
    return this;
  }

  byte[] build() {
    byte[] archive = out.toByteArray();
    return Arrays.copyOf(archive, archive.length + 1024);
  }

  /** Without an end mark. */
  byte[] unfinished() {
    return out.toByteArray();
  }

  private static void number(byte[] block, int offset, int length, long value) {
    if (value >= 0 && value < 1L << (3 * (length - 1))) {
      octal(block, offset, length, value);
      return;
    }
    for (int i = length - 1; i >= 0; i--) {
      int shift = 8 * (length - 1 - i);
      block[offset + i] = (byte) (shift > 63 ? value >> 63 : value >> shift);
    }
    block[offset] = (byte) ((block[offset] & 0x7f) | 0x80);
  }

  private static void octal(byte[] block, int offset, int length, long value) {
    String digits = Long.toOctalString(value);
    put(block, offset, "0".repeat(Math.max(0, length - 1 - digits.length())) + digits);
  }

  private static void put(byte[] block, int offset, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.ISO_8859_1);
    System.arraycopy(bytes, 0, block, offset, bytes.length);
  }
}
