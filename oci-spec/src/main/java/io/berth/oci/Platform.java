package io.berth.oci;

import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What an image was built for (image-spec, image-index, "platform"), and which of several fits a
 * machine best.
 */
public record Platform(
    String architecture,
    String os,
    @Nullable String variant,
    @JsonProperty("os.version") @Nullable String osVersion,
    @JsonProperty("os.features") @Nullable List<String> osFeatures) {

  @SuppressWarnings("ConstantValue") // Jackson passes null for a missing field
  public Platform {
    architecture = architecture == null ? "" : architecture;
    os = os == null ? "" : os;
  }

  public static Platform linux(String architecture, @Nullable String variant) {
    return new Platform(architecture, "linux", variant, null, null);
  }

  /**
   * A Linux machine by Go's architecture names.
   *
   * @param osArch as {@code uname -m} or Java's {@code os.arch} say it
   * @param cpuFlags the flags line of /proc/cpuinfo, which tells the micro-architecture level of
   *     amd64; "" means the oldest
   */
  public static Platform machine(String osArch, String cpuFlags) {
    return switch (osArch) {
      case "amd64", "x86_64" -> linux("amd64", "v" + amd64Level(cpuFlags));
      case "aarch64", "arm64" -> linux("arm64", "v8");
      case "arm", "armv7l" -> linux("arm", "v7");
      case "i386", "i686", "x86" -> linux("386", null);
      default -> linux(osArch, null);
    };
  }

  /** The levels of the x86-64 psABI, by the names that Linux gives their features. */
  private static int amd64Level(String cpuFlags) {
    List<String> flags = List.of(cpuFlags.trim().split("\\s+"));
    List<List<String>> levels =
        List.of(
            List.of("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"),
            List.of("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"),
            List.of("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"));
    int level = 1;
    for (List<String> needed : levels) {
      if (!flags.containsAll(needed)) {
        return level;
      }
      level++;
    }
    return level;
  }

  /**
   * The entry that suits this machine best: the newest variant that it runs, the first of equals.
   * Attestations never match; entries that don't name a platform are taken only when nothing else
   * fits.
   */
  public Optional<Descriptor> choose(List<Descriptor> manifests) {
    List<Platform> order = preferences();
    Descriptor best = null;
    int bestRank = Integer.MAX_VALUE;
    for (Descriptor candidate : manifests) {
      if (candidate.isAttestation()) {
        continue;
      }
      Platform platform = candidate.platform();
      int rank = platform == null ? order.size() : order.indexOf(platform.normalized());
      if (rank >= 0 && rank < bestRank) {
        best = candidate;
        bestRank = rank;
      }
    }
    return Optional.ofNullable(best);
  }

  /** Everything that this machine runs, best first, normalized. */
  List<Platform> preferences() {
    Platform self = normalized();
    List<Platform> order = new ArrayList<>();
    int level = self.level();
    switch (self.architecture) {
      case "amd64" -> {
        addDown(order, "amd64", level, 1);
        order.add(self.as("386", null));
      }
      case "arm64" -> {
        if (level > 8) {
          order.add(self);
        }
        order.add(self.as("arm64", "v8"));
        addDown(order, "arm", 8, 5);
      }
      case "arm" -> addDown(order, "arm", level, 5);
      default -> order.add(self);
    }
    return order;
  }

  private void addDown(List<Platform> order, String architecture, int from, int to) {
    for (int level = from; level >= to; level--) {
      order.add(as(architecture, "v" + level));
    }
  }

  private Platform as(String otherArchitecture, @Nullable String otherVariant) {
    return new Platform(otherArchitecture, os, otherVariant, null, null);
  }

  private int level() {
    return variant != null && variant.matches("v[0-9]") ? variant.charAt(1) - '0' : 1;
  }

  /** One spelling per platform: Go's names, explicit default variants, no versions of Windows. */
  private Platform normalized() {
    String lower = architecture.toLowerCase(Locale.ROOT);
    String name =
        switch (lower) {
          case "x86_64", "x86-64" -> "amd64";
          case "aarch64" -> "arm64";
          case "armhf", "armel" -> "arm";
          case "i386" -> "386";
          default -> lower;
        };
    String given = variant == null ? "" : variant;
    if (given.matches("[0-9]")) {
      given = "v" + given;
    }
    String normalVariant =
        switch (name) {
          case "amd64" -> given.isEmpty() ? "v1" : given;
          case "arm64" -> given.isEmpty() ? "v8" : given;
          case "arm" -> !given.isEmpty() ? given : lower.equals("armel") ? "v6" : "v7";
          default -> given.isEmpty() ? null : given;
        };
    return as(name, normalVariant);
  }

  @JsonIgnore
  boolean isUnknown() {
    return architecture.equals("unknown") && os.equals("unknown");
  }

  @Override
  public String toString() {
    return os + "/" + architecture + (variant == null ? "" : "/" + variant);
  }
}
