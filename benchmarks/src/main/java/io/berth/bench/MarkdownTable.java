package io.berth.bench;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** A table of GitHub's Markdown, columns aligned so that it reads well as plain text too. */
final class MarkdownTable {
  private final List<List<String>> rows = new ArrayList<>();

  MarkdownTable(String... header) {
    rows.add(List.of(header));
  }

  MarkdownTable row(String... cells) {
    if (cells.length != rows.getFirst().size()) {
      throw new IllegalArgumentException(
          cells.length + " cells under " + rows.getFirst().size() + " headings");
    }
    rows.add(List.of(cells));
    return this;
  }

  /** Milliseconds with what precision makes sense: 0.83, 12.3, 1234. */
  static String millis(Duration duration) {
    double millis = duration.toNanos() / 1e6;
    return String.format(Locale.ROOT, millis < 1 ? "%.2f" : millis < 100 ? "%.1f" : "%.0f", millis);
  }

  static String ratio(double value) {
    return String.format(Locale.ROOT, "%.2f", value);
  }

  static String mebibytes(long bytes) {
    return String.format(Locale.ROOT, "%.1f", bytes / (double) (1 << 20));
  }

  /** The first column is text, the others are numbers and stand right. */
  @Override
  public String toString() {
    int columns = rows.getFirst().size();
    int[] widths = new int[columns];
    for (List<String> row : rows) {
      for (int i = 0; i < columns; i++) {
        widths[i] = Math.max(widths[i], Math.max(3, row.get(i).length()));
      }
    }
    var text = new StringBuilder();
    for (int r = 0; r < rows.size(); r++) {
      text.append('|');
      for (int i = 0; i < columns; i++) {
        String padding = " ".repeat(widths[i] - rows.get(r).get(i).length());
        String cell = rows.get(r).get(i);
        text.append(' ').append(i == 0 ? cell + padding : padding + cell).append(" |");
      }
      text.append('\n');
      if (r == 0) {
        text.append("| ").append("-".repeat(widths[0])).append(" |");
        for (int i = 1; i < columns; i++) {
          text.append(' ').append("-".repeat(widths[i] - 1)).append(": |");
        }
        text.append('\n');
      }
    }
    return text.toString();
  }
}
