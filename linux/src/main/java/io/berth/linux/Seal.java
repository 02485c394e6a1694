package io.berth.linux;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.zip.CRC32C;

/**
 * A checksum as the last field of a JSON object, so that a flipped bit isn't taken for what was
 * written:
 *
 * <pre>
 * {
 *   "formatVersion" : 1,
 *   "name" : "n",
 *   "crc32c" : "1b2c3d4e"
 * }
 * </pre>
 *
 * <p>It covers every byte before its own line, not the data, so that no change in how JSON is
 * written makes a good record a bad one. Versions that don't know it take it for an unknown field;
 * what they write has none, and is accepted as it is.
 */
public final class Seal {
  public static final String FIELD = "crc32c";
  private static final byte[] BEFORE =
      (",\n  \"" + FIELD + "\" : \"").getBytes(StandardCharsets.US_ASCII);
  private static final byte[] AFTER = "\"\n}".getBytes(StandardCharsets.US_ASCII);
  private static final int DIGITS = 8;
  private static final int LENGTH = BEFORE.length + DIGITS + AFTER.length;

  private Seal() {}

  /**
   * @param json an object with at least one field, its closing brace the last byte
   */
  public static byte[] seal(byte[] json) {
    int end = json.length - 1;
    if (end < 0 || json[end] != '}') {
      throw new IllegalArgumentException("only a JSON object can be sealed");
    }
    while (end > 0 && Character.isWhitespace(json[end - 1])) {
      end--;
    }
    byte[] sealed = Arrays.copyOf(json, end + LENGTH);
    System.arraycopy(BEFORE, 0, sealed, end, BEFORE.length);
    System.arraycopy(digits(json, end), 0, sealed, end + BEFORE.length, DIGITS);
    System.arraycopy(AFTER, 0, sealed, sealed.length - AFTER.length, AFTER.length);
    return sealed;
  }

  /** Whether the text is as it was sealed. False also for one that was never sealed. */
  public static boolean isWhole(byte[] text) {
    int end = text.length - LENGTH;
    return end > 0
        && matches(text, end, BEFORE)
        && matches(text, text.length - AFTER.length, AFTER)
        && matches(text, end + BEFORE.length, digits(text, end));
  }

  /**
   * Refuses what is no longer as it was sealed; what never was sealed is accepted.
   *
   * @param hasField whether the text, read as JSON, has the seal's field
   * @throws IllegalArgumentException if the seal is broken
   */
  public static void check(byte[] text, boolean hasField) {
    if (hasField && !isWhole(text)) {
      throw new IllegalArgumentException(
          "its checksum is wrong: it was damaged, or edited without taking the line "
              + FIELD
              + " out");
    }
  }

  private static boolean matches(byte[] text, int at, byte[] expected) {
    return Arrays.equals(text, at, at + expected.length, expected, 0, expected.length);
  }

  private static byte[] digits(byte[] text, int length) {
    CRC32C crc = new CRC32C();
    crc.update(text, 0, length);
    return HexFormat.of().toHexDigits((int) crc.getValue()).getBytes(StandardCharsets.US_ASCII);
  }
}
