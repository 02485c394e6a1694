package io.berth.cni;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Chooses the version to speak when a configuration leaves a choice ({@code cniVersions}): the
 * newest that all its plugins know. They are asked by VERSION, once for each program on disk, while
 * the configuration is loaded and never on the way of a pod. Used by one thread at a time.
 */
final class PluginVersions {
  private static final Logger log = LoggerFactory.getLogger(PluginVersions.class);

  private final PluginProcess plugins;
  private final Duration timeout;
  private final Map<Program, Set<CniVersion>> known = new HashMap<>();

  /** A program is asked anew when it was replaced. */
  private record Program(Path path, @Nullable Object fileKey, FileTime modified, long size) {}

  PluginVersions(PluginProcess plugins, Duration timeout) {
    this.plugins = plugins;
    this.timeout = timeout;
  }

  /**
   * The network bound to its version. What a plugin doesn't tell restricts nothing: ADD will say
   * it.
   */
  Network choose(Network network) {
    if (network.versions().size() == 1) {
      return network;
    }
    Set<CniVersion> common = new HashSet<>(network.versions());
    for (Network.Plugin plugin : network.plugins()) {
      Set<CniVersion> spoken = spoken(plugin.type(), network.version());
      if (!spoken.isEmpty()) {
        common.retainAll(spoken);
      }
    }
    return network.pinned(
        network.versions().stream().filter(common::contains).findFirst().orElse(network.version()));
  }

  private Set<CniVersion> spoken(String type, CniVersion ours) {
    Optional<Path> path = plugins.find(type);
    if (path.isEmpty()) {
      return Set.of();
    }
    try {
      BasicFileAttributes file = Files.readAttributes(path.get(), BasicFileAttributes.class);
      Program program =
          new Program(path.get(), file.fileKey(), file.lastModifiedTime(), file.size());
      Set<CniVersion> spoken = known.get(program);
      if (spoken == null) {
        spoken = ask(type, ours);
        known.put(program, spoken);
      }
      return spoken;
    } catch (IOException e) {
      return Set.of();
    } catch (InterruptedException e) {
      // The owner is closing; it sees the flag at its next wait.
      Thread.currentThread().interrupt();
      return Set.of();
    }
  }

  private Set<CniVersion> ask(String type, CniVersion ours) throws InterruptedException {
    // Plugins built before 1.0.0 insist on these variables whatever the command.
    Map<String, String> variables =
        Map.of("CNI_CONTAINERID", "dummy", "CNI_NETNS", "dummy", "CNI_IFNAME", "dummy");
    try {
      byte[] answer =
          plugins.run(
              new PluginProcess.Call(
                  "cni version of plugin " + type,
                  PluginProcess.Command.VERSION,
                  type,
                  variables,
                  CniJson.newObject().put("cniVersion", ours.toString())),
              timeout);
      Set<CniVersion> versions = new HashSet<>();
      for (String version : CniJson.strings(CniJson.parse(answer).path("supportedVersions"))) {
        versions.add(CniVersion.parse(version));
      }
      return versions;
    } catch (CniException | IllegalArgumentException e) {
      log.warn("plugin {} does not tell its versions: {}", type, e.getMessage());
      return Set.of();
    }
  }
}
