package io.berth.e2e;

import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A strict reader of Prometheus' text format, version 0.0.4. */
final class Exposition {
  private static final Pattern NAME = Pattern.compile("[a-zA-Z_:][a-zA-Z0-9_:]*");
  private static final Pattern SAMPLE =
      Pattern.compile("(" + NAME + ")(?:\\{(.*)})? (NaN|[+-]Inf|-?[0-9.]+(?:E-?[0-9]+)?)");
  private static final Pattern LABEL =
      Pattern.compile("([a-zA-Z_][a-zA-Z0-9_]*)=\"((?:[^\"\\\\]|\\\\[\\\\n\"])*)\"");
  private static final Set<String> TYPES = Set.of("counter", "gauge", "histogram", "summary");

  private final Map<String, Double> series = new LinkedHashMap<>();
  private final Set<String> names = new HashSet<>();

  /**
   * @throws AssertionError when a line isn't in the format, or a series is there twice
   */
  Exposition(String text) {
    Map<String, String> types = new HashMap<>();
    for (String line : text.split("\n", -1)) {
      if (line.isEmpty() || line.startsWith("# HELP ")) {
        continue;
      }
      if (line.startsWith("# TYPE ")) {
        String[] words = line.split(" ", -1);
        if (words.length != 4
            || !NAME.matcher(words[2]).matches()
            || !TYPES.contains(words[3])
            || types.put(words[2], words[3]) != null) {
          throw new AssertionError("a type that can't be, or is there twice: " + line);
        }
        continue;
      }
      Matcher sample = SAMPLE.matcher(line);
      if (!sample.matches()) {
        throw new AssertionError("not in the format: " + line);
      }
      String name = sample.group(1);
      String family =
          types.containsKey(name) ? name : name.replaceFirst("_(sum|count|bucket)$", "");
      if (!types.containsKey(family)) {
        throw new AssertionError("a sample without a type: " + line);
      }
      String labels = sample.group(2) == null ? "" : sample.group(2);
      if (!LABEL.matcher(labels).replaceAll("").replace(",", "").isEmpty()) {
        throw new AssertionError("labels that can't be: " + line);
      }
      double value =
          switch (sample.group(3)) {
            case "+Inf" -> Double.POSITIVE_INFINITY;
            case "-Inf" -> Double.NEGATIVE_INFINITY;
            default -> Double.parseDouble(sample.group(3));
          };
      if (series.put(name + "{" + labels + "}", value) != null) {
        throw new AssertionError("twice: " + line);
      }
      names.add(name);
    }
  }

  /** Each by its name and labels, as in {@code name{label="value"}}. */
  Map<String, Double> series() {
    return series;
  }

  /** As queries say them: a histogram has three. */
  Set<String> names() {
    return names;
  }
}
