package io.berth.daemon;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// A program as the configuration names it: an absolute path, or a bare name that is looked up in
/// the system's folders. berthd's own PATH plays no part, so a unit file and a shell find the same
/// program.
public record Executable(String name) {
  /// The order of Debian's default PATH for root: what an administrator put into /usr/local wins.
  static final List<Path> FOLDERS =
      List.of(
          Path.of("/usr/local/sbin"),
          Path.of("/usr/local/bin"),
          Path.of("/usr/sbin"),
          Path.of("/usr/bin"),
          Path.of("/sbin"),
          Path.of("/bin"));

  public Executable {
    boolean bare = !name.isEmpty() && name.indexOf('/') < 0;
    if (!bare && !name.startsWith("/")) {
      throw new IllegalArgumentException(
          "a program is an absolute path or a bare name to be looked up in /usr/local/sbin, "
              + "/usr/local/bin, /usr/sbin and /usr/bin");
    }
  }

  /// The program's path, looked up anew at each call: a package may be installed while berthd runs.
  public Optional<Path> find() {
    if (name.startsWith("/")) {
      return Optional.of(Path.of(name)).filter(Executable::executable);
    }
    return FOLDERS.stream()
        .map(folder -> folder.resolve(name))
        .filter(Executable::executable)
        .findFirst();
  }

  private static boolean executable(Path path) {
    return Files.isRegularFile(path) && Files.isExecutable(path);
  }

  @Override
  public String toString() {
    return name;
  }
}
