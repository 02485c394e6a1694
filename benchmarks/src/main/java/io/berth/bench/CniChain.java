package io.berth.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.berth.bench.BenchException.Reason;
import io.berth.linux.Subprocess;
import io.berth.oci.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * The floor of a pod's network: the plugins of one conflist, executed one after the other as the
 * CNI specification says, and nothing else. No cache, no lock, no version check.
 */
final class CniChain {
  /** A plugin's binary and its configuration, completed by name and version of the list. */
  private record Plugin(Path binary, ObjectNode config) {}

  private final List<Plugin> plugins;
  private final String binDirs;

  private CniChain(List<Plugin> plugins, String binDirs) {
    this.plugins = plugins;
    this.binDirs = binDirs;
  }

  /**
   * @param conflist a network configuration list, CNI specification 1.0, section 1
   * @param binDirs where plugins are looked for, in this order
   */
  static CniChain read(Path conflist, List<Path> binDirs) {
    try {
      JsonNode list = Json.MAPPER.readTree(Files.readAllBytes(conflist));
      List<Plugin> plugins = new ArrayList<>();
      for (JsonNode plugin : list.path("plugins")) {
        ObjectNode config = plugin.deepCopy();
        config.put("name", list.path("name").asText());
        config.put("cniVersion", list.path("cniVersion").asText());
        config.remove("capabilities");
        plugins.add(new Plugin(binary(plugin.path("type").asText(), binDirs), config));
      }
      if (plugins.isEmpty()) {
        throw new BenchException(
            Reason.INPUT, "read " + conflist + ": it has no plugins; give a .conflist", null);
      }
      return new CniChain(
          plugins, binDirs.stream().map(Path::toString).collect(Collectors.joining(":")));
    } catch (IOException e) {
      throw new BenchException(Reason.INPUT, "read " + conflist + ": " + e.getMessage(), e);
    }
  }

  private static Path binary(String type, List<Path> binDirs) {
    return binDirs.stream()
        .map(folder -> folder.resolve(type))
        .filter(Files::isExecutable)
        .findFirst()
        .orElseThrow(() ->
            new BenchException(
                Reason.INPUT, "CNI plugin " + type + " is in none of " + binDirs, null));
  }

  /**
   * An attachment and the result of its ADD, which DEL wants to see again.
   *
   * @param result none when ADD failed, of which DEL takes back what was done
   */
  record Attached(String containerId, Path netns, @Nullable JsonNode result) {}

  Attached add(String containerId, Path netns) throws InterruptedException {
    JsonNode result = null;
    for (Plugin plugin : plugins) {
      String answer = execute(plugin, "ADD", containerId, netns, result);
      try {
        result = Json.MAPPER.readTree(answer);
      } catch (IOException e) {
        throw new BenchException(
            Reason.PROGRAM, "CNI ADD by " + plugin.binary() + " answered: " + answer, e);
      }
    }
    if (result == null) {
      throw new IllegalStateException("a chain has at least one plugin");
    }
    return new Attached(containerId, netns, result);
  }

  /** In reverse order, each with the result of the whole ADD. */
  void delete(Attached attached) throws InterruptedException {
    for (Plugin plugin : plugins.reversed()) {
      execute(plugin, "DEL", attached.containerId(), attached.netns(), attached.result());
    }
  }

  private String execute(
      Plugin plugin, String command, String containerId, Path netns, @Nullable JsonNode previous)
      throws InterruptedException {
    ObjectNode config = plugin.config();
    if (previous != null) {
      config = config.deepCopy();
      config.set("prevResult", previous);
    }
    return Programs.run(
        Subprocess.command(plugin.binary().toString())
            .environment(
                Map.of(
                    "PATH",
                    "/usr/sbin:/usr/bin:/sbin:/bin",
                    "CNI_COMMAND",
                    command,
                    "CNI_CONTAINERID",
                    containerId,
                    "CNI_NETNS",
                    netns.toString(),
                    "CNI_IFNAME",
                    "eth0",
                    "CNI_PATH",
                    binDirs))
            .input(Json.write(config)),
        "CNI " + command + " by " + plugin.binary());
  }
}
