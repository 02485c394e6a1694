package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.daemon.BerthCommand;
import io.berth.daemon.Berthd;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;

/** What the documents name exists: files, headings, commands, options and tests. */
class DocsTest {
  private static final Path ROOT = TestTools.repository("").normalize();
  private static final Pattern LINK = Pattern.compile("\\]\\(([^)\\s]+)\\)");
  private static final Pattern FENCE = Pattern.compile("(?ms)^```\\w*\\n(.*?)^```");
  private static final Pattern CODE = Pattern.compile("`([^`\\n]+)`");
  private static final Pattern HEADING = Pattern.compile("(?m)^#+ +(.+)$");
  private static final Pattern DOOR = Pattern.compile("(?m)^\\./dev (\\S+)");
  private static final Pattern PATH = Pattern.compile("[A-Za-z.][\\w.-]*(/[\\w.-]+)*/?");

  /** A document of the repository. */
  private record Document(Path file, String text) {
    /** Code in the text and the lines of code blocks. */
    List<String> code() {
      var code = new ArrayList<String>();
      FENCE.matcher(text).results().forEach(block -> code.addAll(block.group(1).lines().toList()));
      all(CODE, FENCE.matcher(text).replaceAll(""))
          .forEach(word -> code.add(word.group(1).strip()));
      return code;
    }

    String name() {
      return ROOT.relativize(file).toString();
    }
  }

  @Test
  void documentsAreFound() throws IOException {
    assertThat(documents().map(Document::name))
        .contains("README.md", "CONTRIBUTING.md", "SPECIFICATION.md", "docs/architecture.md");
  }

  @Test
  void linksLeadSomewhere() throws IOException {
    assertThat(
            mistakes(document ->
                all(LINK, document.text())
                    .map(link -> link.group(1))
                    .filter(target -> !target.matches("[a-z]+:.*"))
                    .filter(target -> !leadsSomewhere(document.file(), target))))
        .isEmpty();
  }

  @Test
  void pathsExist() throws IOException {
    Set<String> rooms;
    try (Stream<Path> top = Files.list(ROOT)) {
      rooms = top.map(path -> path.getFileName().toString()).collect(Collectors.toSet());
    }
    assertThat(
            mistakes(document ->
                document.code().stream()
                    .flatMap(line -> Arrays.stream(line.split("[\\s\"'=,;]+")))
                    .map(word -> word.startsWith("./") ? word.substring(2) : word)
                    .filter(word -> word.contains("/") && PATH.matcher(word).matches())
                    .filter(word -> rooms.contains(word.substring(0, word.indexOf('/'))))
                    .filter(word -> !word.contains("/target/")) // made by the build
                    .filter(word -> Files.notExists(ROOT.resolve(word)))))
        .isEmpty();
  }

  @Test
  void testsThatPromisesNameExist() throws IOException {
    var tests = new TreeSet<String>();
    for (Path module : modules()) {
      try (Stream<Path> files = Files.walk(module)) {
        files
            .map(path -> String.valueOf(path.getFileName()))
            .filter(name -> name.endsWith(".java"))
            .forEach(name -> tests.add(name.substring(0, name.length() - ".java".length())));
      }
    }
    assertThat(
            mistakes(document ->
                document.code().stream()
                    .filter(word -> word.matches("[A-Z]\\w+(Test|IT)"))
                    .filter(word -> !tests.contains(word))))
        .isEmpty();
  }

  @Test
  void doorsOfDevExist() throws IOException {
    String dev = Files.readString(ROOT.resolve("dev"));
    // ./dev bench hands its options on.
    String known =
        dev + Files.readString(ROOT.resolve("benchmarks/src/main/java/io/berth/bench/Bench.java"));
    var doors = new TreeSet<>(Set.of("help"));
    all(DOOR, dev).forEach(door -> doors.add(door.group(1)));

    assertThat(doors).contains("build", "demo", "test");
    assertThat(
            mistakes(document ->
                document.code().stream()
                    .filter(line -> line.startsWith("./dev "))
                    .filter(line -> {
                      String[] words = line.split("\\s+");
                      boolean options =
                          Arrays.stream(words)
                              .filter(w -> w.startsWith("--"))
                              .allMatch(known::contains);
                      return !doors.contains(words[1]) || !options;
                    })))
        .isEmpty();
  }

  @Test
  void commandsAndOptionsOfBerthExist() throws IOException {
    var commands = List.of(new CommandLine(new BerthCommand()), new CommandLine(new Berthd()));
    assertThat(
            mistakes(document ->
                commands.stream()
                    .flatMap(command ->
                        document.code().stream()
                            .filter(line -> line.startsWith(command.getCommandName() + " "))
                            .filter(line -> !understands(command, line)))))
        .isEmpty();
  }

  /** Follows subcommands as far as there are any; upper-case words stand for arguments. */
  private static boolean understands(CommandLine command, String line) {
    CommandLine current = command;
    for (String word : line.replaceAll("[\\[\\]]", "").split("\\s+")) {
      if (word.equals(command.getCommandName())) {
        continue;
      }
      if (word.startsWith("-")) {
        if (current.getCommandSpec().findOption(word.replaceFirst("=.*", "")) == null) {
          return false;
        }
      } else if (current.getSubcommands().containsKey(word)) {
        current = current.getSubcommands().get(word);
      } else if (!current.getSubcommands().isEmpty()) {
        return false;
      }
    }
    return true;
  }

  private static boolean leadsSomewhere(Path from, String target) {
    String[] parts = target.split("#", 2);
    Path file = parts[0].isEmpty() ? from : from.resolveSibling(parts[0]).normalize();
    if (Files.notExists(file)) {
      return false;
    }
    return parts.length == 1
        || all(HEADING, read(file)).anyMatch(h -> anchor(h.group(1)).equals(parts[1]));
  }

  /** As GitHub makes it of a heading. */
  private static String anchor(String heading) {
    return heading.toLowerCase(Locale.ROOT).replaceAll("[^\\w\\- ]", "").replace(' ', '-');
  }

  private static List<String> mistakes(Function<Document, Stream<String>> search)
      throws IOException {
    return documents()
        .flatMap(document -> search.apply(document).map(word -> document.name() + ": " + word))
        .toList();
  }

  private static Stream<Document> documents() throws IOException {
    var files = new ArrayList<Path>();
    try (Stream<Path> top = Files.list(ROOT);
        Stream<Path> docs = Files.walk(ROOT.resolve("docs"))) {
      Stream.concat(top, docs)
          .filter(path -> String.valueOf(path.getFileName()).endsWith(".md"))
          .forEach(files::add);
    }
    return files.stream().map(file -> new Document(file, read(file)));
  }

  /** The source folders of all modules. */
  private static List<Path> modules() throws IOException {
    try (Stream<Path> top = Files.list(ROOT)) {
      return Stream.concat(
              top.filter(folder -> Files.exists(folder.resolve("pom.xml"))), Stream.of(ROOT))
          .map(folder -> folder.resolve("src"))
          .filter(Files::isDirectory)
          .toList();
    }
  }

  private static Stream<MatchResult> all(Pattern pattern, String text) {
    return pattern.matcher(text).results();
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException failure) {
      throw new java.io.UncheckedIOException(failure);
    }
  }
}
