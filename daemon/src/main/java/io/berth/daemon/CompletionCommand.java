package io.berth.daemon;

import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;
import picocli.AutoComplete;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// What a shell has to know to complete `berth`'s arguments.
@Command(
    name = "completion",
    description = "Prints a script with which a shell completes berth's arguments.",
    mixinStandardHelpOptions = true)
final class CompletionCommand implements Callable<Integer> {
  enum Shell {
    bash,
    zsh,
    fish
  }

  @Parameters(
      paramLabel = "SHELL",
      description =
          "${COMPLETION-CANDIDATES}. Used as in: source <(berth completion bash), or: berth"
              + " completion fish | source.")
  @Nullable Shell shell;

  @Spec @Nullable CommandSpec spec;

  @Override
  public Integer call() {
    CommandSpec root = spec().root();
    System.out.print(
        shell == Shell.fish
            ? fish(root)
            // For zsh too: there it begins with bashcompinit.
            : AutoComplete.bash(root.name(), root.commandLine()));
    return ExitCode.OK;
  }

  private CommandSpec spec() {
    if (spec == null) {
      throw new IllegalStateException("picocli has not set the command's model");
    }
    return spec;
  }

  /// One `complete` line for each subcommand and option.
  private static String fish(CommandSpec root) {
    var script = new StringBuilder("complete -c " + root.name() + " -f\n");
    fish(root, "__fish_use_subcommand", script);
    return script.toString();
  }

  private static void fish(CommandSpec command, String within, StringBuilder script) {
    String start = "complete -c " + command.root().name() + " -n '" + within + "'";
    List<CommandSpec> subcommands =
        command.subcommands().values().stream().map(CommandLine::getCommandSpec).toList();
    for (CommandSpec subcommand : subcommands) {
      script.append(start).append(" -a ").append(subcommand.name());
      describe(subcommand.usageMessage().description(), script);
    }
    for (OptionSpec option : command.options()) {
      script.append(start);
      for (String name : option.names()) {
        script.append(name.startsWith("--") ? " -l " : " -s ").append(name.replaceFirst("-+", ""));
      }
      if (option.arity().max() > 0) {
        String values = values(option);
        script.append(values.isEmpty() ? " -r -F" : " -x -a '" + values + "'");
      }
      if (values(option).isEmpty()) {
        describe(option.description(), script);
      } else {
        script.append('\n');
      }
    }
    for (CommandSpec subcommand : subcommands) {
      String inside = "__fish_seen_subcommand_from " + subcommand.name();
      boolean outermost = command.parent() == null;
      fish(
          subcommand,
          outermost
              ? inside + excluding(subcommand)
              : within.replace(excluding(command), "") + "; and " + inside,
          script);
    }
  }

  /// While none of its subcommands has been typed.
  private static String excluding(CommandSpec command) {
    Set<String> names = new TreeSet<>(command.subcommands().keySet());
    return names.isEmpty()
        ? ""
        : "; and not __fish_seen_subcommand_from " + String.join(" ", names);
  }

  private static String values(OptionSpec option) {
    Iterable<String> candidates = option.completionCandidates();
    return candidates == null
        ? ""
        : StreamSupport.stream(candidates.spliterator(), false).collect(Collectors.joining(" "));
  }

  /// The first clause, unless it only begins to name the default.
  private static void describe(String[] text, StringBuilder script) {
    Stream.of(text)
        .map(line -> line.split("[;.:]( |$)", 2)[0])
        .filter(line -> !line.isBlank() && !line.equals("Default"))
        .findFirst()
        .ifPresent(line -> script.append(" -d '").append(line.replace("'", "\\'")).append('\''));
    script.append('\n');
  }
}
