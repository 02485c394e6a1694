package io.berth.daemon;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/// A table of the merged configuration, read key by key. A bad value is noted and replaced by a
/// stand-in, so that reading goes on to find the other mistakes; whatever was never asked for is an
/// unknown key.
final class ConfigTable {
  /// Where mistakes go.
  interface Mistakes {
    void add(String key, String text);

    boolean none();
  }

  static final String UNKNOWN_KEY = "unknown key";

  private static final Pattern DURATION = Pattern.compile("(?:\\d{1,9}(?:ms|s|m|h))+");
  private static final Pattern DURATION_PART = Pattern.compile("(\\d+)(ms|s|m|h)");

  private final String name;
  private final ObjectNode node;
  private final Mistakes mistakes;
  private final Set<String> asked = new HashSet<>();

  ConfigTable(String name, ObjectNode node, Mistakes mistakes) {
    this.name = name;
    this.node = node;
    this.mistakes = mistakes;
  }

  /// Reads this table and then reports the keys the reader did not ask for.
  <T> T read(Function<ConfigTable, T> reader) {
    T value = reader.apply(this);
    for (var property : node.properties()) {
      if (!asked.contains(property.getKey())) {
        mistakes.add(dotted(property.getKey()), UNKNOWN_KEY);
      }
    }
    return value;
  }

  <T> T table(String key, Function<ConfigTable, T> reader) {
    asked.add(key);
    return subtable(key, reader);
  }

  /// A table whose keys are names that the administrator chooses.
  <T> Map<String, T> tables(String key, BiFunction<String, ConfigTable, T> reader) {
    return table(
        key,
        all -> {
          Map<String, T> read = new LinkedHashMap<>();
          for (var property : all.node.properties()) {
            String child = property.getKey();
            all.asked.add(child);
            read.put(child, all.subtable(child, table -> reader.apply(child, table)));
          }
          return Map.copyOf(read);
        });
  }

  private <T> T subtable(String key, Function<ConfigTable, T> reader) {
    if (node.get(key) instanceof ObjectNode table) {
      return new ConfigTable(dotted(key), table, mistakes).read(reader);
    }
    mistakes.add(dotted(key), "must be a table: write [" + dotted(key) + "], not " + node.get(key));
    return reader.apply(
        new ConfigTable(dotted(key), JsonNodeFactory.instance.objectNode(), IGNORE));
  }

  boolean has(String key) {
    asked.add(key);
    return node.has(key);
  }

  /// A condition over several keys, checked once each of them alone is right.
  void require(boolean condition, String key, Supplier<String> text) {
    if (mistakes.none() && !condition) {
      mistakes.add(key, text.get());
    }
  }

  String text(String key) {
    return string(key, "", ConfigTable::notEmpty);
  }

  /// The empty string stands for "off".
  Optional<String> optionalText(String key) {
    return string(key, Optional.empty(), text -> Optional.of(text).filter(t -> !t.isEmpty()));
  }

  Path path(String key) {
    return string(key, Path.of("/"), ConfigTable::absolute);
  }

  /// The empty string stands for "none".
  Optional<Path> optionalPath(String key) {
    return string(
        key,
        Optional.empty(),
        text -> text.isEmpty() ? Optional.empty() : Optional.of(absolute(text)));
  }

  List<Path> paths(String key) {
    JsonNode value = value(key);
    var paths = new ArrayList<Path>();
    if (!value.isArray() || value.isEmpty()) {
      mistakes.add(
          dotted(key), "must be a list of absolute paths such as [\"/opt/cni/bin\"], not " + value);
      return paths;
    }
    for (JsonNode element : value) {
      try {
        paths.add(absolute(element.isTextual() ? element.textValue() : ""));
      } catch (IllegalArgumentException impossible) {
        mistakes.add(dotted(key), impossible.getMessage() + ", not " + element);
      }
    }
    return List.copyOf(paths);
  }

  /** May be empty. */
  List<String> texts(String key) {
    JsonNode value = value(key);
    var texts = new ArrayList<String>();
    if (!value.isArray()) {
      mistakes.add(dotted(key), "must be a list of strings such as [\"one\"], not " + value);
      return texts;
    }
    for (JsonNode element : value) {
      if (element.isTextual() && !element.textValue().isEmpty()) {
        texts.add(element.textValue());
      } else {
        mistakes.add(dotted(key), "must hold strings that aren't empty, not " + element);
      }
    }
    return List.copyOf(texts);
  }

  /** A table of strings whose keys the administrator chooses. */
  Map<String, String> textMap(String key) {
    return table(
        key,
        all -> {
          Map<String, String> read = new LinkedHashMap<>();
          for (var property : all.node.properties()) {
            read.put(property.getKey(), all.string(property.getKey(), "", Function.identity()));
          }
          return Map.copyOf(read);
        });
  }

  /**
   * A value with a form of its own, whose parser says by IllegalArgumentException what is wrong.
   */
  <T> T parsed(String key, T standIn, Supplier<T> parser) {
    try {
      return parser.get();
    } catch (IllegalArgumentException impossible) {
      mistakes.add(dotted(key), impossible.getMessage() + ", not " + node.path(key));
      return standIn;
    }
  }

  boolean flag(String key) {
    JsonNode value = value(key);
    if (!value.isBoolean()) {
      mistakes.add(dotted(key), "must be true or false, not " + value);
    }
    return value.booleanValue();
  }

  Executable executable(String key) {
    return string(key, new Executable("/"), Executable::new);
  }

  ByteSize size(String key, ByteSize least, ByteSize most) {
    return string(key, least, text -> within(ByteSize.parse(text), least, most));
  }

  Duration duration(String key, Duration least, Duration most) {
    return string(key, least, text -> within(parseDuration(text), least, most));
  }

  /// A table of durations whose keys are names that the administrator chooses.
  Map<String, Duration> durations(String key, Duration least, Duration most) {
    return table(
        key,
        all -> {
          Map<String, Duration> read = new LinkedHashMap<>();
          for (var property : all.node.properties()) {
            read.put(property.getKey(), all.duration(property.getKey(), least, most));
          }
          return Map.copyOf(read);
        });
  }

  int number(String key, int least, int most) {
    JsonNode value = value(key);
    if (!value.isIntegralNumber()
        || !value.canConvertToInt()
        || value.intValue() < least
        || value.intValue() > most) {
      mistakes.add(
          dotted(key),
          "must be a whole number from %d to %d, not %s".formatted(least, most, value));
      return least;
    }
    return value.intValue();
  }

  <E extends Enum<E>> E choice(String key, Class<E> type) {
    E[] constants = type.getEnumConstants();
    return string(
        key,
        constants[0],
        text ->
            Arrays.stream(constants)
                .filter(constant -> word(constant).equals(text))
                .findFirst()
                .orElseThrow(() ->
                    new IllegalArgumentException(
                        Arrays.stream(constants)
                            .map(constant -> "\"" + word(constant) + "\"")
                            .collect(Collectors.joining(", ", "must be one of ", "")))));
  }

  /// `address:port`; the empty string stands for "off".
  Optional<InetSocketAddress> optionalAddress(String key) {
    return string(
        key,
        Optional.empty(),
        text -> text.isEmpty() ? Optional.empty() : Optional.of(parseAddress(text)));
  }

  /// `http://` or `https://` with a host; the empty string stands for "off".
  Optional<URI> optionalUri(String key) {
    return string(
        key,
        Optional.empty(),
        text -> text.isEmpty() ? Optional.empty() : Optional.of(parseUri(text)));
  }

  private static URI parseUri(String text) {
    try {
      URI uri = new URI(text);
      if (List.of("http", "https").contains(String.valueOf(uri.getScheme()))
          && uri.getHost() != null) {
        return uri;
      }
    } catch (URISyntaxException malformed) {
      // said below
    }
    throw new IllegalArgumentException("must be an address such as \"http://127.0.0.1:4318\"");
  }

  /// `address:port`; port 0 is a free one.
  InetSocketAddress address(String key) {
    return string(key, new InetSocketAddress(0), ConfigTable::parseAddress);
  }

  private <T> T string(String key, T standIn, Function<String, T> parser) {
    JsonNode value = value(key);
    if (!value.isTextual()) {
      if (!value.isMissingNode()) {
        mistakes.add(dotted(key), "must be a string in quotes, not " + value);
      }
      return standIn;
    }
    try {
      return parser.apply(value.textValue());
    } catch (IllegalArgumentException impossible) {
      mistakes.add(dotted(key), impossible.getMessage() + ", not " + value);
      return standIn;
    }
  }

  private JsonNode value(String key) {
    asked.add(key);
    JsonNode value = node.path(key);
    if (value.isMissingNode()) {
      mistakes.add(name, "the key \"" + key + "\" is missing");
    }
    return value;
  }

  private String dotted(String key) {
    return ConfigSource.dotted(name, key);
  }

  private static String notEmpty(String text) {
    if (text.isEmpty()) {
      throw new IllegalArgumentException("must not be empty");
    }
    return text;
  }

  private static Path absolute(String text) {
    if (!text.startsWith("/") || text.indexOf('\0') >= 0) {
      throw new IllegalArgumentException("must be an absolute path");
    }
    return Path.of(text).normalize();
  }

  private static Duration parseDuration(String text) {
    if (!DURATION.matcher(text).matches()) {
      throw new IllegalArgumentException(
          "a duration is a whole number and a unit of ms, s, m or h, such as \"30s\" or \"1h30m\"");
    }
    Duration sum = Duration.ZERO;
    var part = DURATION_PART.matcher(text);
    while (part.find()) {
      long amount = Long.parseLong(part.group(1));
      sum =
          sum.plus(
              switch (part.group(2)) {
                case "ms" -> Duration.ofMillis(amount);
                case "s" -> Duration.ofSeconds(amount);
                case "m" -> Duration.ofMinutes(amount);
                default -> Duration.ofHours(amount);
              });
    }
    return sum;
  }

  private static InetSocketAddress parseAddress(String text) {
    int colon = text.lastIndexOf(':');
    String host = colon < 0 ? "" : text.substring(0, colon);
    // Only literal addresses: a name would be resolved once at start and then be wrong.
    boolean bracketed = host.startsWith("[") && host.endsWith("]");
    boolean literal = bracketed || host.matches("\\d{1,3}(\\.\\d{1,3}){3}");
    String port = text.substring(colon + 1);
    if (!literal || !port.matches("\\d{1,5}") || Integer.parseInt(port) > 65535) {
      throw new IllegalArgumentException(
          "must be an IP address and a port such as \"127.0.0.1:9480\" or \"[::1]:9480\"");
    }
    return new InetSocketAddress(host, Integer.parseInt(port));
  }

  private static <T extends Comparable<T>> T within(T value, T least, T most) {
    if (value.compareTo(least) < 0 || value.compareTo(most) > 0) {
      throw new IllegalArgumentException(
          "must be between %s and %s".formatted(words(least), words(most)));
    }
    return value;
  }

  private static String words(Object bound) {
    return bound instanceof Duration duration ? duration.toSeconds() + "s" : String.valueOf(bound);
  }

  private static String word(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT);
  }

  private static final Mistakes IGNORE =
      new Mistakes() {
        @Override
        public void add(String key, String text) {}

        @Override
        public boolean none() {
          return false;
        }
      };
}
