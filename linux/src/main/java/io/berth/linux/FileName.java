package io.berth.linux;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * File names as text, without loss. On Linux a name is bytes, usually UTF-8. A byte that isn't part
 * of valid UTF-8 becomes the lone surrogate U+DC00 + byte, which no valid text holds, and turns
 * back into the byte on its way to the kernel (as in Python's PEP 383).
 */
public final class FileName {
  private static final char FIRST = 0xdc80;
  private static final char LAST = 0xdcff;

  private FileName() {}

  public static String decode(byte[] bytes, int from, int to) {
    int at = from;
    while (at < to && bytes[at] >= 0) {
      at++;
    }
    if (at == to) {
      return new String(bytes, from, to - from, StandardCharsets.ISO_8859_1);
    }
    ByteBuffer in = ByteBuffer.wrap(bytes, from, to - from);
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(in).toString();
    } catch (CharacterCodingException e) {
      return decodeEscaping(bytes, from, to);
    }
  }

  public static String decode(byte[] bytes) {
    return decode(bytes, 0, bytes.length);
  }

  private static String decodeEscaping(byte[] bytes, int from, int to) {
    var decoder = StandardCharsets.UTF_8.newDecoder();
    ByteBuffer in = ByteBuffer.wrap(bytes, from, to - from);
    CharBuffer out = CharBuffer.allocate(to - from);
    while (true) {
      var result = decoder.decode(in, out, true);
      if (!result.isError()) {
        return out.flip().toString();
      }
      for (int i = 0; i < result.length(); i++) {
        out.put((char) (0xdc00 + (in.get() & 0xff)));
      }
    }
  }

  /** The bytes of a name; the inverse of {@link #decode}. */
  public static byte[] encode(String name) {
    int length = name.length();
    boolean escaped = false;
    for (int i = 0; i < length && !escaped; i++) {
      char c = name.charAt(i);
      escaped =
          c >= FIRST && c <= LAST && (i == 0 || !Character.isHighSurrogate(name.charAt(i - 1)));
    }
    if (!escaped) {
      return name.getBytes(StandardCharsets.UTF_8);
    }
    byte[] out = new byte[3 * length];
    int size = 0;
    int i = 0;
    while (i < length) {
      char c = name.charAt(i);
      if (c >= FIRST && c <= LAST) {
        out[size++] = (byte) (c - 0xdc00);
        i++;
      } else {
        int point = name.codePointAt(i);
        byte[] bytes = Character.toString(point).getBytes(StandardCharsets.UTF_8);
        System.arraycopy(bytes, 0, out, size, bytes.length);
        size += bytes.length;
        i += Character.charCount(point);
      }
    }
    return Arrays.copyOf(out, size);
  }
}
