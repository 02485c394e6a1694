package io.berth.snapshot;

import java.util.List;

/**
 * What came of comparing a layer on disk with its manifest.
 *
 * @param checkedAt milliseconds since the epoch
 * @param manifest false: the layer was made by a version that wrote none, and nothing is known of
 *     it
 * @param files whose content was read
 * @param bytes of them
 * @param flawCount how much differs
 * @param flaws the first of them
 */
public record LayerHealth(
    long checkedAt, boolean manifest, long files, long bytes, long flawCount, List<Flaw> flaws) {

  static final int FORMAT = 1;

  @SuppressWarnings("ConstantValue") // Jackson passes null for a missing field
  public LayerHealth {
    flaws = flaws == null ? List.of() : List.copyOf(flaws);
  }

  /**
   * A difference.
   *
   * @param path in the layer, without a leading slash; empty: the layer as a whole
   * @param what as in {@code "has 0 bytes instead of 1234"}
   */
  public record Flaw(String path, String what) {
    @Override
    public String toString() {
      return (path.isEmpty() ? "the layer" : path) + " " + what;
    }
  }

  public boolean sound() {
    return flawCount == 0;
  }
}
