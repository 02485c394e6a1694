package io.berth.runtime;

import java.util.Map;

/**
 * When a container's log is rotated by the daemon.
 *
 * @param maxBytes of the file that is written to; 0: never
 * @param maxFiles with the one that is written to; at least 2
 */
public record LogLimits(long maxBytes, int maxFiles) {
  /** A container's own cap, such as "10MiB"; "0" is none. Wins over the configuration. */
  public static final String MAX_SIZE = "berth.io/log-max-size";

  /** How many files a container's log may have. */
  public static final String MAX_FILES = "berth.io/log-max-files";

  public static final LogLimits NONE = new LogLimits(0, 2);

  /**
   * Those of one container.
   *
   * @throws ContainerException INVALID when an annotation can't be read
   */
  LogLimits of(ContainerConfig container) {
    Map<String, String> annotations = container.annotations();
    String size = annotations.get(MAX_SIZE);
    String files = annotations.get(MAX_FILES);
    return new LogLimits(
        size == null ? maxBytes : bytes(size), files == null ? maxFiles : number(files));
  }

  /**
   * Refuses annotations that can't be read.
   *
   * @throws ContainerException INVALID
   */
  static void require(ContainerConfig container) {
    LogLimits _ = NONE.of(container);
  }

  private static long bytes(String text) {
    String digits = text.replaceFirst("(KiB|MiB|GiB|Ki|Mi|Gi)$", "");
    int shift =
        switch (text.substring(digits.length())) {
          case "KiB", "Ki" -> 10;
          case "MiB", "Mi" -> 20;
          case "GiB", "Gi" -> 30;
          default -> 0;
        };
    if (!digits.matches("\\d{1,9}")) {
      throw refused(MAX_SIZE, text, "a size is a whole number and a unit, such as \"10MiB\"");
    }
    return Long.parseLong(digits) << shift;
  }

  private static int number(String text) {
    if (!text.matches("\\d{1,4}") || Integer.parseInt(text) < 2) {
      throw refused(MAX_FILES, text, "a number of files is at least 2, as in \"5\"");
    }
    return Integer.parseInt(text);
  }

  private static ContainerException refused(String annotation, String value, String why) {
    return new ContainerException(
        ContainerException.Reason.INVALID,
        "annotation " + annotation + ": \"" + value + "\" can't be read; " + why);
  }
}
