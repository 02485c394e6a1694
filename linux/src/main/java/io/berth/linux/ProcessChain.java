package io.berth.linux;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * A process and its youngest descendants, down to the one that everybody above waits for. From
 * /proc, as proc(5) describes it; what vanishes meanwhile is left out.
 *
 * @param links from the process itself to the deepest one
 */
public record ProcessChain(List<Link> links) {
  private static final int DEEPEST = 16;
  private static final int STACK_LINES = 12;
  private static final Path PROC = Path.of("/proc");
  // The kernel cuts the names of programs off.
  private static final int NAME_LENGTH = 15;

  /**
   * One process of the chain.
   *
   * @param state as in /proc/PID/stat, {@code D} is a wait that not even SIGKILL ends
   * @param waitChannel the kernel's function in which it sleeps; empty if it runs
   * @param stack the kernel's, innermost first; empty where it can't be read
   */
  public record Link(
      int pid,
      String name,
      List<String> arguments,
      char state,
      String waitChannel,
      List<String> stack) {}

  /** The chain that begins with {@code pid}; without links if it has ended. */
  public static ProcessChain of(int pid) {
    List<Link> links = new ArrayList<>();
    for (Integer next = pid; next != null && links.size() < DEEPEST; next = youngestChild(next)) {
      Link link = link(PROC.resolve(next.toString()), next);
      if (link == null) {
        break;
      }
      links.add(link);
    }
    return new ProcessChain(List.copyOf(links));
  }

  /** Threads of this process that wait in the kernel so that nothing can wake them. */
  public static List<Link> stuckThreads() {
    List<Link> stuck = new ArrayList<>();
    try (DirectoryStream<Path> tasks = Files.newDirectoryStream(PROC.resolve("self/task"))) {
      for (Path task : tasks) {
        Link link = link(task, Integer.parseInt(task.getFileName().toString()));
        if (link != null && link.state() == 'D') {
          stuck.add(link);
        }
      }
    } catch (IOException unreadable) {
      return stuck;
    }
    return stuck;
  }

  /** As in {@code conmon > runc > hook > sleep}. */
  public String describe() {
    return links.stream().map(Link::name).collect(Collectors.joining(" > "));
  }

  private static @Nullable Link link(Path folder, int pid) {
    try {
      String stat = read(folder.resolve("stat"));
      int open = stat.indexOf('(');
      int close = stat.lastIndexOf(')');
      if (open < 0 || close < open) {
        return null;
      }
      List<String> arguments = List.of(read(folder.resolve("cmdline")).split("\0"));
      String waitChannel = readIfAllowed(folder.resolve("wchan"));
      return new Link(
          pid,
          whole(stat.substring(open + 1, close), arguments),
          arguments,
          stat.charAt(close + 2),
          waitChannel.equals("0") ? "" : waitChannel,
          readIfAllowed(folder.resolve("stack"))
              .lines()
              .map(line -> line.replaceFirst("^\\[<[^>]*>] ", ""))
              .limit(STACK_LINES)
              .toList());
    } catch (IOException ended) {
      return null;
    }
  }

  private static String whole(String name, List<String> arguments) {
    if (name.length() < NAME_LENGTH) {
      return name;
    }
    return arguments.stream()
        .map(argument -> argument.substring(argument.lastIndexOf('/') + 1))
        .filter(argument -> argument.startsWith(name))
        .findFirst()
        .orElse(name);
  }

  private static @Nullable Integer youngestChild(int pid) {
    Integer youngest = null;
    try (DirectoryStream<Path> tasks = Files.newDirectoryStream(PROC.resolve(pid + "/task"))) {
      for (Path task : tasks) {
        for (String child : read(task.resolve("children")).split(" ")) {
          if (!child.isBlank() && (youngest == null || Integer.parseInt(child) > youngest)) {
            youngest = Integer.parseInt(child);
          }
        }
      }
    } catch (IOException | NumberFormatException ended) {
      return youngest;
    }
    return youngest;
  }

  private static String readIfAllowed(Path file) {
    try {
      return read(file);
    } catch (IOException refused) {
      return "";
    }
  }

  private static String read(Path file) throws IOException {
    return new String(Files.readAllBytes(file), StandardCharsets.UTF_8).strip();
  }
}
