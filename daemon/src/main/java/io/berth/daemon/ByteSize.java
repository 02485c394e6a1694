package io.berth.daemon;

import java.util.Locale;
import java.util.regex.Pattern;

/// A number of bytes, written `16MiB`: binary units only, so that nobody has to guess what a `M`
/// is.
///
/// @param bytes not negative
public record ByteSize(long bytes) implements Comparable<ByteSize> {
  private static final Pattern FORM = Pattern.compile("(\\d{1,18})(B|KiB|MiB|GiB|TiB)");

  /// Reads what [#toString] writes.
  ///
  /// @throws IllegalArgumentException telling the accepted form
  public static ByteSize parse(String text) {
    var form = FORM.matcher(text);
    if (!form.matches()) {
      throw new IllegalArgumentException(
          "a size is a whole number and a unit of B, KiB, MiB, GiB or TiB, such as \"16MiB\"");
    }
    int shift =
        switch (form.group(2)) {
          case "KiB" -> 10;
          case "MiB" -> 20;
          case "GiB" -> 30;
          case "TiB" -> 40;
          default -> 0;
        };
    try {
      return new ByteSize(Math.multiplyExact(Long.parseLong(form.group(1)), 1L << shift));
    } catch (ArithmeticException tooLarge) {
      throw new IllegalArgumentException("that size is beyond what a machine can hold", tooLarge);
    }
  }

  static ByteSize ofMiB(long mebibytes) {
    return new ByteSize(mebibytes << 20);
  }

  @Override
  public int compareTo(ByteSize other) {
    return Long.compare(bytes, other.bytes);
  }

  /// The largest unit that loses nothing; [#parse] reads it back.
  @Override
  public String toString() {
    String[] units = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    long value = bytes;
    while (unit < 4 && value != 0 && value % 1024 == 0) {
      value /= 1024;
      unit++;
    }
    return value + units[unit];
  }

  /// One decimal and a unit, for people: `3.4 GiB`.
  String approximately() {
    double value = bytes;
    String[] units = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    while (unit < 4 && value >= 1024) {
      value /= 1024;
      unit++;
    }
    return String.format(Locale.ROOT, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  }
}
