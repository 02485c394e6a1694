package io.berth.oci;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/**
 * A content digest, {@code sha256:<64 hex>} or {@code sha512:<128 hex>}: the algorithms that
 * image-spec's descriptor chapter registers. Being checked when made, its parts are safe in file
 * names and URLs.
 */
public record Digest(String algorithm, String hex) implements Comparable<Digest> {

  public static final String SHA256 = "sha256";
  public static final String SHA512 = "sha512";

  public Digest {
    int length =
        switch (algorithm) {
          case SHA256 -> 64;
          case SHA512 -> 128;
          default ->
              throw new IllegalArgumentException(
                  "digest algorithm \"" + algorithm + "\" is not supported: use sha256 or sha512");
        };
    if (hex.length() != length || !hex.chars().allMatch(Digest::isLowerHex)) {
      throw new IllegalArgumentException(
          "\"" + hex + "\" is not " + length + " lower-case hexadecimal digits of " + algorithm);
    }
  }

  /**
   * Reads {@code algorithm:hex}.
   *
   * @throws IllegalArgumentException if the text is not {@code algorithm:hex} of a known algorithm
   */
  @JsonCreator
  public static Digest parse(String text) {
    int colon = text.indexOf(':');
    if (colon < 0) {
      throw new IllegalArgumentException("digest \"" + text + "\" has no algorithm prefix");
    }
    return new Digest(text.substring(0, colon), text.substring(colon + 1));
  }

  public static Digest sha256(byte[] content) {
    return of(SHA256, newHash(SHA256).digest(content));
  }

  /** Wraps the finished value of a running {@link #newHash()}. */
  public static Digest of(String algorithm, byte[] value) {
    return new Digest(algorithm, HexFormat.of().formatHex(value));
  }

  /** A fresh hash of this digest's algorithm, to compare streamed content with it. */
  public MessageDigest newHash() {
    return newHash(algorithm);
  }

  /** Whether this is the digest of the content. */
  public boolean matches(byte[] content) {
    return of(algorithm, newHash().digest(content)).equals(this);
  }

  private static MessageDigest newHash(String algorithm) {
    try {
      return MessageDigest.getInstance(algorithm.equals(SHA256) ? "SHA-256" : "SHA-512");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every JDK has SHA-2", e);
    }
  }

  private static boolean isLowerHex(int c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  }

  /** The first twelve digits, as people see ids in tables. */
  public String abbreviated() {
    return hex.substring(0, 12);
  }

  @Override
  public int compareTo(Digest other) {
    return toString().compareTo(other.toString());
  }

  @Override
  @JsonValue
  public String toString() {
    return algorithm + ":" + hex;
  }
}
