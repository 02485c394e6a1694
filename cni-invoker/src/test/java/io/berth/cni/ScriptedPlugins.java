package io.berth.cni;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;

/**
 * A node's CNI folders in a temporary one, with plugins that are shell scripts: they note each call
 * with environment and input, and then do what the test has scripted for plugin and command, or
 * what a well-behaved plugin does.
 */
final class ScriptedPlugins {
  static final String RESULT =
      """
      {"cniVersion":"1.0.0","interfaces":[{"name":"br0"},{"name":"eth0","mac":"02:00:00:00:00:01","sandbox":"/ns"}],\
      "ips":[{"address":"10.1.0.5/24","gateway":"10.1.0.1","interface":1}],"routes":[{"dst":"0.0.0.0/0"}],"kept":7}\
      """;

  private static final String SCRIPT =
      """
      #!/bin/sh
      here=FOLDER
      name=${0##*/}
      call=$here/calls/$name.$CNI_COMMAND.$CNI_CONTAINERID
      cat > "$call.stdin"
      env > "$call.env"
      echo "$CNI_COMMAND $name" >> $here/log
      if [ -e "$here/$name.$CNI_COMMAND" ]; then . "$here/$name.$CNI_COMMAND"; fi
      if [ "$CNI_COMMAND" = ADD ]; then cat $here/result; fi
      """;

  final Path folder;
  final Path confDir;
  final Path binDir;
  final Path cacheDir;

  ScriptedPlugins(Path folder, String... plugins) {
    this.folder = folder;
    this.confDir = folder.resolve("net.d");
    this.binDir = folder.resolve("bin");
    this.cacheDir = folder.resolve("cache");
    try {
      Files.createDirectories(folder.resolve("calls"));
      Files.createDirectories(confDir);
      Files.createDirectories(binDir);
      Files.writeString(folder.resolve("result"), RESULT);
      for (String plugin : plugins) {
        install(plugin);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  void install(String plugin) throws IOException {
    Path temporary = folder.resolve(plugin + ".new");
    Files.writeString(temporary, SCRIPT.replace("FOLDER", folder.toString()));
    Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
    Files.move(temporary, binDir.resolve(plugin));
  }

  CniSettings settings() {
    return CniSettings.of(confDir, List.of(folder.resolve("no-such-bin"), binDir), cacheDir)
        .withStatus(Duration.ofMinutes(5), Duration.ofSeconds(5));
  }

  /** Puts a configuration into the folder as installers do: whole, by rename. */
  ScriptedPlugins configure(String file, String json) throws IOException {
    Path temporary = folder.resolve(file + ".new");
    Files.writeString(temporary, json);
    Files.move(temporary, confDir.resolve(file), java.nio.file.StandardCopyOption.REPLACE_EXISTING);
    return this;
  }

  /** A list of these plugins, without any option, in network {@code podnet}. */
  ScriptedPlugins configureList(String version, String... plugins) throws IOException {
    ObjectNode list = CniJson.newObject().put("cniVersion", version).put("name", "podnet");
    for (String plugin : plugins) {
      list.withArray("plugins").addObject().put("type", plugin);
    }
    return configure("10-podnet.conflist", list.toString());
  }

  /**
   * Shell text that the plugin runs on that command before it answers; {@code $here} is the test's
   * folder.
   */
  void script(String plugin, String command, String shell) throws IOException {
    Files.writeString(folder.resolve(plugin + "." + command), shell + "\n");
  }

  void unscript(String plugin, String command) throws IOException {
    Files.delete(folder.resolve(plugin + "." + command));
  }

  /** What the plugins print on ADD. */
  void result(String json) throws IOException {
    Files.writeString(folder.resolve("result"), json);
  }

  /** Commands and plugins in the order they were called, as in {@code ADD first}. */
  List<String> log() {
    try {
      Path log = folder.resolve("log");
      return Files.exists(log) ? Files.readAllLines(log) : List.of();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** What the plugin read in its last call. */
  String input(String plugin, String command, String sandbox) throws IOException {
    return Files.readString(
        folder.resolve("calls").resolve(plugin + "." + command + "." + sandbox + ".stdin"));
  }

  List<String> environment(String plugin, String command, String sandbox) throws IOException {
    return Files.readAllLines(
        folder.resolve("calls").resolve(plugin + "." + command + "." + sandbox + ".env"));
  }

  Path cached(String sandbox) {
    return cacheDir.resolve("results").resolve("podnet-" + sandbox + "-eth0");
  }

  /** A sandbox whose network namespace is this process's own: scripts don't enter it. */
  static Attachment attachment(String sandbox) {
    return attachment(sandbox, CapabilityArgs.none());
  }

  static Attachment attachment(String sandbox, CapabilityArgs capabilities) {
    return new Attachment(
        sandbox, Path.of("/proc/self/ns/net"), "web", "shop", "u-1", capabilities);
  }
}
