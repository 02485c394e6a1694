package io.berth.daemon;

import java.util.List;
import java.util.stream.Collectors;

/// The configuration cannot be used. Carries every mistake of every file, so that one round of
/// editing is enough.
public final class ConfigException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final transient List<ConfigMistake> mistakes;

  ConfigException(List<ConfigMistake> mistakes) {
    super(
        mistakes.stream()
            .map(ConfigMistake::toString)
            .collect(Collectors.joining("\n", "the configuration cannot be used:\n", "")));
    this.mistakes = List.copyOf(mistakes);
  }

  public List<ConfigMistake> mistakes() {
    return mistakes;
  }
}
