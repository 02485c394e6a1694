package io.berth.cni;

import java.util.Comparator;
import java.util.List;

/** A version of the CNI specification, in the order of semantic versioning. */
record CniVersion(int major, int minor, int patch) implements Comparable<CniVersion> {
  /** What a configuration without {@code cniVersion} means. */
  static final CniVersion V0_1_0 = new CniVersion(0, 1, 0);

  /** Results become lists; before there were {@code ip4} and {@code ip6}. */
  static final CniVersion V0_3_0 = new CniVersion(0, 3, 0);

  /** CHECK, and {@code prevResult} on DEL. */
  static final CniVersion V0_4_0 = new CniVersion(0, 4, 0);

  /** {@code ips[].version} is dropped. */
  static final CniVersion V1_0_0 = new CniVersion(1, 0, 0);

  /** STATUS, GC, {@code cniVersions}, MTU of interfaces and the details of routes. */
  static final CniVersion V1_1_0 = new CniVersion(1, 1, 0);

  /** The newest first. */
  static final List<CniVersion> SUPPORTED =
      List.of(
          V1_1_0, V1_0_0, V0_4_0, new CniVersion(0, 3, 1), V0_3_0, new CniVersion(0, 2, 0), V0_1_0);

  private static final Comparator<CniVersion> ORDER =
      Comparator.comparingInt(CniVersion::major)
          .thenComparingInt(CniVersion::minor)
          .thenComparingInt(CniVersion::patch);

  /**
   * @throws IllegalArgumentException when {@code text} is not one to three numbers with dots
   */
  static CniVersion parse(String text) {
    if (text.isEmpty()) {
      return V0_1_0;
    }
    if (!text.matches("\\d{1,4}(\\.\\d{1,4}){0,2}")) {
      throw new IllegalArgumentException("\"" + text + "\" is not a version such as 1.0.0");
    }
    int[] parts = {0, 0, 0};
    String[] words = text.split("\\.", -1);
    for (int i = 0; i < words.length; i++) {
      parts[i] = Integer.parseInt(words[i]);
    }
    return new CniVersion(parts[0], parts[1], parts[2]);
  }

  boolean atLeast(CniVersion other) {
    return compareTo(other) >= 0;
  }

  @Override
  public int compareTo(CniVersion other) {
    return ORDER.compare(this, other);
  }

  @Override
  public String toString() {
    return major + "." + minor + "." + patch;
  }
}
