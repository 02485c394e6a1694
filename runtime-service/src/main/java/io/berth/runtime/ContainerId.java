package io.berth.runtime;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.regex.Pattern;

/** The identifier of a container: 64 lower-case hexadecimal digits, chosen by us at random. */
public record ContainerId(@JsonValue String value) implements Comparable<ContainerId> {
  private static final Pattern FORM = Pattern.compile("[0-9a-f]{64}");
  private static final SecureRandom RANDOM = new SecureRandom();

  @JsonCreator
  public ContainerId {
    if (!isValid(value)) {
      throw new IllegalArgumentException(
          "malformed container id \""
              + value
              + "\": 64 lower-case hexadecimal digits are expected");
    }
  }

  static boolean isValid(String value) {
    return FORM.matcher(value).matches();
  }

  static ContainerId random() {
    byte[] bytes = new byte[32];
    RANDOM.nextBytes(bytes);
    return new ContainerId(HexFormat.of().formatHex(bytes));
  }

  /** The first twelve digits, enough for a person to tell containers apart. */
  public String shortForm() {
    return value.substring(0, 12);
  }

  @Override
  public int compareTo(ContainerId other) {
    return value.compareTo(other.value);
  }

  @Override
  public String toString() {
    return value;
  }
}
