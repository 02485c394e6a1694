package io.berth.daemon;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Reads the configuration: the built-in defaults, then the main file, then `config.d/*.toml`
/// beside it in lexical order. A later file wins key by key.
public final class ConfigLoader {
  public static final Path DEFAULT_FILE = Path.of("/etc/berth/config.toml");
  private static final String DEFAULTS = "default-config.toml";

  private ConfigLoader() {}

  /// Reads all files and checks all of it.
  ///
  /// @param file the main file; the defaults hold when [#DEFAULT_FILE] does not exist, while any
  ///   other file was asked for by name and must be there
  /// @throws ConfigException with all mistakes of all files
  public static DaemonConfig load(Path file) {
    var mistakes = new ArrayList<ConfigMistake>();
    var sources = new ArrayList<ConfigSource>();
    sources.add(ConfigSource.parse(Path.of("(built-in) " + DEFAULTS), defaultText()));
    for (Path part : files(file, mistakes)) {
      try {
        sources.add(ConfigSource.parse(part, Files.readString(part)));
      } catch (IOException unreadable) {
        mistakes.add(new ConfigMistake(part, 0, "cannot be read: " + unreadable));
      } catch (ConfigException notToml) {
        mistakes.addAll(notToml.mistakes());
      }
    }
    var reading = new Reading(sources, mistakes);
    DaemonConfig config = new ConfigTable("", reading.merged, reading).read(DaemonConfig::read);
    if (!mistakes.isEmpty()) {
      mistakes.sort(
          Comparator.comparing((ConfigMistake mistake) -> mistake.file().toString())
              .thenComparingInt(ConfigMistake::line));
      throw new ConfigException(mistakes);
    }
    return config;
  }

  /// The commented default file, as `berth config default` prints it.
  public static String defaultText() {
    try (InputStream resource = ConfigLoader.class.getResourceAsStream("/" + DEFAULTS)) {
      if (resource == null) {
        throw new IllegalStateException("the resource " + DEFAULTS + " is missing from the jar");
      }
      return new String(resource.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException unreadable) {
      throw new IllegalStateException("the resource " + DEFAULTS + " is unreadable", unreadable);
    }
  }

  private static List<Path> files(Path main, List<ConfigMistake> mistakes) {
    var files = new ArrayList<Path>();
    if (Files.exists(main)) {
      files.add(main);
    } else if (!main.equals(DEFAULT_FILE)) {
      mistakes.add(new ConfigMistake(main, 0, "there is no such file"));
    }
    Path folder = main.resolveSibling("config.d");
    if (Files.isDirectory(folder)) {
      try (var entries = Files.newDirectoryStream(folder, "*.toml")) {
        var parts = new ArrayList<Path>();
        entries.forEach(parts::add);
        parts.sort(Comparator.comparing(part -> String.valueOf(part.getFileName())));
        files.addAll(parts);
      } catch (IOException unreadable) {
        mistakes.add(new ConfigMistake(folder, 0, "cannot be listed: " + unreadable));
      }
    }
    return files;
  }

  /// The merged tree, and for each of its keys the file that had the last word.
  private static final class Reading implements ConfigTable.Mistakes {
    final ObjectNode merged = JsonNodeFactory.instance.objectNode();
    private final Map<String, ConfigSource> origins = new HashMap<>();
    private final Map<ConfigSource, Map<String, Integer>> lines = new HashMap<>();
    private final Set<String> knownKeys = new LinkedHashSet<>();
    private final List<ConfigMistake> mistakes;

    Reading(List<ConfigSource> sources, List<ConfigMistake> mistakes) {
      this.mistakes = mistakes;
      ConfigSource.forEachKey("", sources.getFirst().tree(), knownKeys::add);
      // Optional keys of tables that the administrator names; the built-in tables show them all.
      sources.forEach(source -> merge("", source.tree(), merged, source));
    }

    private void merge(String parent, ObjectNode from, ObjectNode into, ConfigSource source) {
      for (var property : from.properties()) {
        String key = ConfigSource.dotted(parent, property.getKey());
        origins.put(key, source);
        if (property.getValue() instanceof ObjectNode table
            && into.get(property.getKey()) instanceof ObjectNode existing) {
          merge(key, table, existing, source);
        } else {
          into.set(property.getKey(), property.getValue().deepCopy());
          ConfigSource.forEachKey(key, property.getValue(), child -> origins.put(child, source));
        }
      }
    }

    @Override
    public void add(String key, String text) {
      ConfigSource source = origins.get(key);
      if (source == null) {
        throw new IllegalStateException("no file mentions " + key);
      }
      int line = lines.computeIfAbsent(source, ConfigSource::lines).getOrDefault(key, 0);
      String hint =
          text.equals(ConfigTable.UNKNOWN_KEY)
              ? suggestion(key).map(meant -> ", did you mean " + meant + "?").orElse("")
              : "";
      mistakes.add(new ConfigMistake(source.file(), line, key + ": " + text + hint));
    }

    @Override
    public boolean none() {
      return mistakes.isEmpty();
    }

    /// The nearest key of the same table, or the same key of another table.
    private Optional<String> suggestion(String key) {
      int dot = key.lastIndexOf('.');
      String table = key.substring(0, dot + 1);
      String leaf = key.substring(dot + 1);
      // Keys of [runtimes.NAME] are compared with those of the built-in tables.
      String shape = table.startsWith("runtimes.") ? "runtimes.runc." : table;
      Optional<String> near =
          knownKeys.stream()
              .filter(known -> known.startsWith(shape) && known.indexOf('.', shape.length()) < 0)
              .map(known -> known.substring(shape.length()))
              .filter(known -> distance(leaf, known) <= Math.max(2, leaf.length() / 3))
              .min(Comparator.comparingInt(known -> distance(leaf, known)))
              .map(known -> "\"" + known + "\"");
      return near.or(() ->
          knownKeys.stream()
              .filter(known -> known.endsWith("." + leaf))
              .findFirst()
              .map(known -> "\"" + leaf + "\" in the table [" + parentOf(known) + "]"));
    }

    private static String parentOf(String key) {
      return key.substring(0, key.lastIndexOf('.'));
    }

    /// Levenshtein's distance.
    private static int distance(String a, String b) {
      int[] row = new int[b.length() + 1];
      for (int j = 0; j <= b.length(); j++) {
        row[j] = j;
      }
      for (int i = 1; i <= a.length(); i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= b.length(); j++) {
          int substituted = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
          diagonal = row[j];
          row[j] = Math.min(substituted, Math.min(row[j], row[j - 1]) + 1);
        }
      }
      return row[b.length()];
    }
  }
}
