package io.berth.cni;

import com.fasterxml.jackson.annotation.JsonInclude;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Limits of the pod's traffic: rates in bits per second, bursts in bits; null where nothing is
 * limited.
 *
 * @param ingressRate towards the pod
 * @param egressRate from the pod
 */
@JsonInclude(JsonInclude.Include.NON_NULL)
public record Bandwidth(
    @Nullable Long ingressRate,
    @Nullable Long ingressBurst,
    @Nullable Long egressRate,
    @Nullable Long egressBurst) {

  private static final String INGRESS = "kubernetes.io/ingress-bandwidth";
  private static final String EGRESS = "kubernetes.io/egress-bandwidth";

  /** Kubernetes names no burst; the largest one the plugin takes means a plain rate limit. */
  private static final long BURST = 0xffff_ffffL;

  /** A Kubernetes quantity: a decimal number with a decimal exponent or one suffix. */
  private static final Pattern QUANTITY =
      Pattern.compile(
          "([0-9]+(?:\\.[0-9]*)?|\\.[0-9]+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,2}))?");

  private static final String DECIMAL = "kMGTPE";
  private static final String BINARY = "KMGTPE";

  /**
   * The limits that a pod's annotations ask for.
   *
   * @throws CniException INVALID_ARGUMENT when a value is not a quantity
   */
  public static Optional<Bandwidth> fromAnnotations(Map<String, String> annotations) {
    Long in = rate(annotations, INGRESS);
    Long out = rate(annotations, EGRESS);
    if (in == null && out == null) {
      return Optional.empty();
    }
    return Optional.of(
        new Bandwidth(in, in == null ? null : BURST, out, out == null ? null : BURST));
  }

  private static @Nullable Long rate(Map<String, String> annotations, String key) {
    String text = annotations.get(key);
    if (text == null) {
      return null;
    }
    Matcher quantity = QUANTITY.matcher(text.strip());
    if (quantity.matches()) {
      BigDecimal bits =
          new BigDecimal(quantity.group(1)).multiply(factor(quantity.group(2), quantity.group(3)));
      // Fractions of a bit count as one, as Kubernetes rounds.
      BigDecimal whole = bits.setScale(0, RoundingMode.CEILING);
      if (whole.signum() > 0 && whole.precision() <= 18) {
        return whole.longValueExact();
      }
    }
    throw new CniException(
        CniException.Reason.INVALID_ARGUMENT,
        "annotation "
            + key
            + ": \""
            + text
            + "\" is not a positive quantity of bits per second such as 10M",
        null);
  }

  private static BigDecimal factor(@Nullable String suffix, @Nullable String exponent) {
    if (exponent != null) {
      return BigDecimal.ONE.scaleByPowerOfTen(Integer.parseInt(exponent));
    }
    if (suffix == null) {
      return BigDecimal.ONE;
    }
    if (suffix.length() == 2) {
      return BigDecimal.valueOf(1024).pow(BINARY.indexOf(suffix.charAt(0)) + 1);
    }
    return switch (suffix) {
      case "n" -> BigDecimal.ONE.scaleByPowerOfTen(-9);
      case "u" -> BigDecimal.ONE.scaleByPowerOfTen(-6);
      case "m" -> BigDecimal.ONE.scaleByPowerOfTen(-3);
      default -> BigDecimal.ONE.scaleByPowerOfTen(3 * (DECIMAL.indexOf(suffix.charAt(0)) + 1));
    };
  }
}
