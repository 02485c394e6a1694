package io.berth.e2e;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;

/**
 * The programs that berthd calls, wrapped so that a test can act at an exact moment: right before
 * or after a given call. What happens there is shell text put into a file named after the program,
 * the verb and the side, such as {@code runtime-create-before}; the verb of a CNI plugin is its
 * command, conmon's is {@code run}.
 */
final class Saboteur {
  private static final String WRAPPER =
      """
      #!/bin/sh
      here=FOLDER
      verb=run
      VERB
      if [ -e "$here/NAME-$verb-before" ]; then . "$here/NAME-$verb-before"; fi
      REAL "$@"
      code=$?
      if [ -e "$here/NAME-$verb-after" ]; then . "$here/NAME-$verb-after"; fi
      exit $code
      """;

  private final Path folder;

  /**
   * @param folder empty; belongs to the test
   * @param runtime the OCI runtime to be wrapped
   * @param plugins the folder of CNI plugins
   */
  Saboteur(Path folder, Path runtime, Path plugins) throws IOException {
    this.folder = folder;
    wrap(
        folder.resolve("runtime"),
        "runtime",
        "for word; do case $word in create|start|state|kill|delete|exec|update) verb=$word; break;; esac;"
            + " done",
        runtime);
    wrap(folder.resolve("conmon"), "conmon", "", TestTools.installed("conmon", "conmon"));
    Path wrapped = Files.createDirectory(folder.resolve("cni"));
    for (String plugin : List.of("bridge", "portmap", "firewall")) {
      wrap(wrapped.resolve(plugin), plugin, "verb=$CNI_COMMAND", plugins.resolve(plugin));
    }
    Files.createSymbolicLink(wrapped.resolve("host-local"), plugins.resolve("host-local"));
  }

  private void wrap(Path file, String name, String verb, Path real) throws IOException {
    Files.writeString(
        file,
        WRAPPER
            .replace("FOLDER", folder.toString())
            .replace("VERB", verb)
            .replace("NAME", name)
            .replace("REAL", real.toString()));
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  /** A daemon that calls the wrapped programs. */
  BerthDaemon.Builder daemon() {
    return BerthDaemon.with()
        .plugins(folder.resolve("cni"))
        .config(
            """
            [containers]
            default_runtime = "runc"
            conmon = "%s"
            [runtimes.runc]
            path = "%s"
            """
                .formatted(folder.resolve("conmon"), folder.resolve("runtime")));
  }

  /** At every call of that kind from now on. */
  void at(String moment, String shell) throws IOException {
    Path written = Files.writeString(folder.resolve("new"), shell + "\n");
    Files.move(written, folder.resolve(moment));
  }

  /** At the next call of that kind. */
  void once(String moment, String shell) throws IOException {
    String file = folder.resolve(moment).toString();
    at(moment, "mv " + file + " " + file + ".done 2> /dev/null || return 0\n" + shell);
  }

  /** Makes the next call of that kind SIGKILL the daemon. */
  void killAt(String moment, BerthDaemon daemon) throws IOException {
    once(moment, "kill -9 " + daemon.pid());
  }

  /** Makes calls of that kind wait for {@link #release}. */
  void hangAt(String moment) throws IOException {
    at(moment, ": >> $here/hanging; while [ ! -e $here/released ]; do sleep 0.02; done");
  }

  boolean isHanging() {
    return Files.exists(folder.resolve("hanging"));
  }

  /** Lets all that hang go on. */
  void release() throws IOException {
    Files.writeString(folder.resolve("released"), "");
  }

  /** That moment passes undisturbed again. */
  void spare(String moment) throws IOException {
    Files.delete(folder.resolve(moment));
  }

  /** Whether what was meant for a moment {@link #once} has happened. */
  boolean struck(String moment) {
    return Files.exists(folder.resolve(moment + ".done"));
  }
}
