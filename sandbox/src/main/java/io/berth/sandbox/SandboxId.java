package io.berth.sandbox;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.regex.Pattern;

/// The identifier of a sandbox: 64 lower-case hexadecimal digits, chosen by us at random.
public record SandboxId(@JsonValue String value) implements Comparable<SandboxId> {
  private static final Pattern FORM = Pattern.compile("[0-9a-f]{64}");
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
