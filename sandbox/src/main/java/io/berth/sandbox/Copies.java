package io.berth.sandbox;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// Immutable copies for records. Absent means empty, so that a record written by an older version,
/// which lacks a field, can be read.
final class Copies {
  private Copies() {}

  static <T> List<T> of(@Nullable List<T> list) {
    return list == null ? List.of() : List.copyOf(list);
  }

  /// Keeps the order, unlike [Map#copyOf]: a record then reads the same every time it is written.
  static <V> Map<String, V> of(@Nullable Map<String, V> map) {
    return map == null ? Map.of() : Collections.unmodifiableMap(new LinkedHashMap<>(map));
  }

  static String of(@Nullable String text) {
    return text == null ? "" : text;
  }
}
