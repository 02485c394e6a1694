package io.berth.linux;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/**
 * One line of /proc/self/mountinfo, proc_pid_mountinfo(5).
 *
 * @param target where it is mounted
 * @param optional propagation tags, as in {@code shared:12} and {@code master:3}
 */
public record MountInfo(
    Path root, Path target, String options, List<String> optional, String type, String source) {

  /** A line ends with a newline only: a carriage return may be part of a name. */
  static List<MountInfo> parseTable(String text) {
    return Arrays.stream(text.split("\n"))
        .filter(line -> !line.isEmpty())
        .map(MountInfo::parse)
        .toList();
  }

  static MountInfo parse(String line) {
    String[] fields = line.split(" ");
    int dash = 6;
    while (!fields[dash].equals("-")) {
      dash++;
    }
    return new MountInfo(
        Path.of(unescape(fields[3])),
        Path.of(unescape(fields[4])),
        fields[5],
        Arrays.asList(fields).subList(6, dash),
        fields[dash + 1],
        unescape(fields[dash + 2]));
  }

  public boolean isShared() {
    return optional.stream().anyMatch(tag -> tag.startsWith("shared:"));
  }

  public boolean isSlave() {
    return optional.stream().anyMatch(tag -> tag.startsWith("master:"));
  }

  /** Blank, tab, newline and backslash stand as three octal digits. */
  private static String unescape(String field) {
    if (field.indexOf('\\') < 0) {
      return field;
    }
    StringBuilder out = new StringBuilder();
    for (int i = 0; i < field.length(); i++) {
      char c = field.charAt(i);
      if (c == '\\' && i + 3 < field.length()) {
        out.append((char) Integer.parseInt(field.substring(i + 1, i + 4), 8));
        i += 3;
      } else {
        out.append(c);
      }
    }
    return out.toString();
  }
}
