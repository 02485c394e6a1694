package io.berth.daemon;

import java.nio.file.Path;

/// One thing wrong in a configuration file.
///
/// @param line counted from 1; 0 when the mistake belongs to no line
/// @param text what is wrong and what was probably meant
public record ConfigMistake(Path file, int line, String text) {
  @Override
  public String toString() {
    return line == 0 ? file + ": " + text : file + ":" + line + ": " + text;
  }
}
