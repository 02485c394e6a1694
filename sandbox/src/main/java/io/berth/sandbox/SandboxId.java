package io.berth.sandbox;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.regex.Pattern;

/// The identifier of a sandbox: 64 lower-case hexadecimal digits, chosen by us at random.
public record SandboxId(@JsonValue String value) implements Comparable<SandboxId> {
  private static final Pattern FORM = Pattern.compile("[0-9a-f]{64}");

  /// Of every policy with categories (mcs(8)): c0 to c1023.
  private static final long CATEGORIES = 1024;

  private static final SecureRandom RANDOM = new SecureRandom();

  /// @throws IllegalArgumentException if the value isn't 64 lower-case hexadecimal digits
  @JsonCreator
  public SandboxId {
    if (!isValid(value)) {
      throw new IllegalArgumentException(
          "malformed sandbox id \"" + value + "\": 64 lower-case hexadecimal digits are expected");
    }
  }

  static boolean isValid(String value) {
    return FORM.matcher(value).matches();
  }

  static SandboxId random() {
    byte[] bytes = new byte[32];
    RANDOM.nextBytes(bytes);
    return new SandboxId(HexFormat.of().formatHex(bytes));
  }

  /// An SELinux level with two categories, such as `s0:c12,c345`, which the id alone tells: nothing
  /// has to be kept of it, and it is free again with the record. [SandboxStore] sees to it that no
  /// two sandboxes have the same.
  String selinuxLevel() {
    // Pairs by number: 0,1; 0,2; 1,2; 0,3 and so on.
    long pair = Long.parseLong(value, 0, 12, 16) % (CATEGORIES * (CATEGORIES - 1) / 2);
    long high = (long) ((1 + Math.sqrt(1 + 8.0 * pair)) / 2);
    return "s0:c" + (pair - high * (high - 1) / 2) + ",c" + high;
  }

  /// The first twelve digits, enough for a person to tell pods apart.
  public String shortForm() {
    return value.substring(0, 12);
  }

  @Override
  public int compareTo(SandboxId other) {
    return value.compareTo(other.value);
  }

  @Override
  public String toString() {
    return value;
  }
}
