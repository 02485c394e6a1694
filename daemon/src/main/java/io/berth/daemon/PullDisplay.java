package io.berth.daemon;

import io.berth.admin.v1.PullLayer;
import io.berth.admin.v1.PullProgress;
import io.berth.image.PullBoard;
import java.io.Console;
import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Pulls as people see them: on a terminal bars, drawn anew each time; elsewhere a line for each
/// layer that has come further, and a sum now and then.
final class PullDisplay {
  private static final int BAR = 24;
  private static final Duration SUMS = Duration.ofSeconds(10);

  private final PrintStream out;
  private final boolean terminal;
  private final Map<String, String> states = new HashMap<>();
  private int drawn; // lines that the next picture replaces
  private long summedAt = System.nanoTime();

  PullDisplay(PrintStream out, boolean terminal) {
    this.out = out;
    this.terminal = terminal;
  }

  /// Of this command.
  static PullDisplay here() {
    return new PullDisplay(
        System.out, Optional.ofNullable(System.console()).map(Console::isTerminal).orElse(false));
  }

  void show(List<PullProgress> pulls) {
    if (terminal) {
      draw(pulls);
    } else {
      tell(pulls);
    }
  }

  /// One picture of pulls that go on, whatever the output is.
  void showOnce(List<PullProgress> pulls) {
    if (pulls.isEmpty()) {
      out.println("no image is being pulled");
    }
    pulls.forEach(pull -> lines(pull).forEach(out::println));
  }

  private void draw(List<PullProgress> pulls) {
    var picture = new StringBuilder();
    if (drawn > 0) {
      picture.append("\033[").append(drawn).append('A'); // up
    }
    picture.append("\r\033[J"); // erases what is below
    drawn = 0;
    for (PullProgress pull : pulls) {
      for (String line : lines(pull)) {
        picture.append(line).append('\n');
        drawn++;
      }
    }
    out.print(picture);
    out.flush();
  }

  private void tell(List<PullProgress> pulls) {
    for (PullProgress pull : pulls) {
      for (PullLayer layer : pull.getLayersList()) {
        String state = layer.getState() + from(layer);
        if (!state.equals(states.put(pull.getImage() + " " + layer.getDigest(), state))) {
          out.println(
              brief(layer.getDigest()) + " " + PullBoard.size(layer.getSize()) + " " + state);
        }
      }
    }
    if (System.nanoTime() - summedAt > SUMS.toNanos()) {
      summedAt = System.nanoTime();
      pulls.forEach(pull -> out.println(sum(pull)));
    }
  }

  private static List<String> lines(PullProgress pull) {
    var lines = new ArrayList<String>();
    lines.add(sum(pull));
    for (PullLayer layer : pull.getLayersList()) {
      lines.add(
          "  %s %s %4s %s%s"
              .formatted(
                  brief(layer.getDigest()),
                  bar(layer),
                  percent(layer) + "%",
                  layer.getState(),
                  from(layer)));
    }
    return lines;
  }

  private static String sum(PullProgress pull) {
    if (pull.getLayersCount() == 0) {
      return pull.getImage() + " looking for its layers";
    }
    return "%s %s of %s, %s/s%s"
        .formatted(
            pull.getImage(),
            PullBoard.size(pull.getFetched()),
            PullBoard.size(pull.getSize()),
            PullBoard.size(pull.getRate()),
            pull.getRemaining() < 0
                ? ""
                : ", " + Duration.ofNanos(pull.getRemaining()).toSeconds() + " s left");
  }

  private static String bar(PullLayer layer) {
    int full = percent(layer) * BAR / 100;
    return "[" + "#".repeat(full) + ".".repeat(BAR - full) + "]";
  }

  private static int percent(PullLayer layer) {
    return switch (layer.getState()) {
      case "present", "storing", "done" -> 100;
      default ->
          layer.getSize() == 0
              ? 0
              : (int) Math.min(100, layer.getFetched() * 100 / layer.getSize());
    };
  }

  private static String from(PullLayer layer) {
    return layer.getHost().isEmpty() ? "" : " from " + layer.getHost();
  }

  /// Twelve digits tell layers apart.
  private static String brief(String digest) {
    String hex = digest.substring(digest.indexOf(':') + 1);
    return hex.substring(0, Math.min(12, hex.length()));
  }
}
