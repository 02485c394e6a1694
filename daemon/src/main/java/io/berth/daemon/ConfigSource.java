package io.berth.daemon;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.toml.TomlMapper;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/// One TOML file: its tree, and the line on which each key was written.
///
/// The parser keeps no positions of keys, so they are found by parsing again, and only once there
/// is a mistake to report: a TOML statement ends with a line and no part of one is well-formed,
/// hence the shortest well-formed run of lines that holds a key ends with that key's statement.
final class ConfigSource {
  private static final TomlMapper TOML = new TomlMapper();

  private final Path file;
  private final String text;
  private final ObjectNode tree;

  private ConfigSource(Path file, String text, ObjectNode tree) {
    this.file = file;
    this.text = text;
    this.tree = tree;
  }

  /// Reads one file.
  ///
  /// @throws ConfigException with the parser's words when the text is not TOML
  static ConfigSource parse(Path file, String text) {
    try {
      return new ConfigSource(file, text, read(text));
    } catch (JsonProcessingException notToml) {
      int line = notToml.getLocation() == null ? 0 : notToml.getLocation().getLineNr();
      throw new ConfigException(
          List.of(
              new ConfigMistake(
                  file, line, "not well-formed TOML: " + notToml.getOriginalMessage())));
    }
  }

  Path file() {
    return file;
  }

  ObjectNode tree() {
    return tree;
  }

  /// The line of each dotted key and table, from 1.
  Map<String, Integer> lines() {
    Map<String, Integer> found = new HashMap<>();
    String[] lines = text.split("\n", -1);
    var prefix = new StringBuilder();
    int statementStart = 1;
    for (int i = 0; i < lines.length; i++) {
      prefix.append(lines[i]).append('\n');
      ObjectNode soFar;
      try {
        soFar = read(prefix.toString());
      } catch (JsonProcessingException insideStatement) {
        continue;
      }
      int line = statementStart;
      forEachKey("", soFar, key -> found.putIfAbsent(key, line));
      statementStart = i + 2;
    }
    return found;
  }

  /// Visits every dotted key, tables before what they hold.
  static void forEachKey(String parent, JsonNode node, Consumer<String> visitor) {
    for (var property : node.properties()) {
      String key = dotted(parent, property.getKey());
      visitor.accept(key);
      if (property.getValue().isObject()) {
        forEachKey(key, property.getValue(), visitor);
      }
    }
  }

  static String dotted(String parent, String key) {
    return parent.isEmpty() ? key : parent + "." + key;
  }

  private static ObjectNode read(String text) throws JsonProcessingException {
    return TOML.readTree(text) instanceof ObjectNode object ? object : TOML.createObjectNode();
  }
}
