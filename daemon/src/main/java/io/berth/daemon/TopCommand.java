package io.berth.daemon;

import io.berth.linux.Terminal;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/// What pods and containers use, again and again.
@Command(
    name = "top",
    description = "Shows what pods and their containers use, the busiest first; q ends it.",
    mixinStandardHelpOptions = true)
final class TopCommand implements Callable<Integer> {
  private static final String CLEAR = "\u001b[H\u001b[2J";
  private static final long KEY_PAUSE_MILLIS = 50;

  @Option(
      names = "--interval",
      paramLabel = "SECONDS",
      description = "Between two tables. Default: ${DEFAULT-VALUE}.")
  int interval = 2;

  @Option(
      names = {"-n", "--count"},
      paramLabel = "N",
      description = "How many tables; default: one, and on a terminal until q is pressed.")
  @Nullable Integer count;

  @Mixin BerthCommand.Output output = new BerthCommand.Output();
  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() throws InterruptedException, IOException {
    Optional<Terminal> terminal =
        output.json() || count != null ? Optional.empty() : Terminal.open();
    // A signal ends the command without unwinding it.
    terminal.ifPresent(t -> Runtime.getRuntime().addShutdownHook(new Thread(t::close)));
    try (var queries = new CriQueries(daemon.socket())) {
      int left = terminal.isPresent() ? Integer.MAX_VALUE : count == null ? 1 : count;
      Usage before = queries.usage();
      while (left-- > 0) {
        if (pause(terminal.isPresent())) {
          break;
        }
        Usage now = queries.usage();
        print(now.rows(before), terminal);
        before = now;
      }
    } finally {
      terminal.ifPresent(Terminal::close);
    }
    return ExitCode.OK;
  }

  /// Returns whether q was pressed.
  private boolean pause(boolean keys) throws InterruptedException, IOException {
    long end = System.nanoTime() + Duration.ofSeconds(Math.max(1, interval)).toNanos();
    while (System.nanoTime() < end) {
      while (keys && System.in.available() > 0) {
        if (System.in.read() == 'q') {
          return true;
        }
      }
      TimeUnit.MILLISECONDS.sleep(KEY_PAUSE_MILLIS);
    }
    return false;
  }

  private void print(List<Usage.Row> rows, Optional<Terminal> terminal) {
    if (output.json()) {
      System.out.println(Usage.json(rows));
      return;
    }
    List<String> table = Usage.table(rows);
    if (terminal.isEmpty()) {
      table.forEach(System.out::println);
      return;
    }
    int width = terminal.get().columns();
    var screen = new StringBuilder(CLEAR);
    table.stream()
        .limit(terminal.get().rows() - 1L)
        .forEach(line -> screen.append(line, 0, Math.min(width, line.length())).append('\n'));
    System.out.print(screen);
    System.out.flush();
  }
}
