package io.berth.cni;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** Finds the network in a folder of configurations: the first valid file in lexical order. */
final class NetworkConfigLoader {
  private static final List<String> SUFFIXES = List.of(".conflist", ".conf", ".json");

  private final Path folder;

  /**
   * What the folder holds.
   *
   * @param network null when no file is valid
   * @param skipped one sentence for each file before it that is broken
   */
  record Found(@Nullable Network network, @Nullable Path file, List<String> skipped) {}

  NetworkConfigLoader(Path folder) {
    this.folder = folder;
  }

  /**
   * Reads the folder. A broken file is passed over, so that one mistake does not disconnect the
   * node while a good configuration is there.
   */
  Found load() {
    List<String> skipped = new ArrayList<>();
    try {
      for (Path file : files(folder, name -> SUFFIXES.stream().anyMatch(name::endsWith))) {
        try {
          Network network = Network.of(CniJson.parse(Files.readAllBytes(file)));
          if (!network.onlyInlinedPlugins()) {
            network = network.withPlugins(pluginsOfFolder(folder.resolve(network.name())));
          }
          if (network.plugins().isEmpty()) {
            throw new IllegalArgumentException(
                "no plugins, neither in the file nor in " + folder.resolve(network.name()));
          }
          return new Found(network, file, List.copyOf(skipped));
        } catch (NoSuchFileException e) {
          // Removed while we were looking: as if it had never been.
        } catch (IllegalArgumentException e) {
          skipped.add(file + ": " + e.getMessage());
        } catch (IOException e) {
          skipped.add(file + ": can't be read: " + e);
        }
      }
    } catch (IOException e) {
      skipped.add(folder + ": can't be read: " + e);
    }
    return new Found(null, null, List.copyOf(skipped));
  }

  private List<Network.Plugin> pluginsOfFolder(Path pluginFolder) throws IOException {
    List<Network.Plugin> plugins = new ArrayList<>();
    for (Path file : files(pluginFolder, name -> name.endsWith(".conf"))) {
      try {
        plugins.add(Network.Plugin.of(CniJson.parse(Files.readAllBytes(file))));
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException("with " + file + ": " + e.getMessage(), e);
      }
    }
    return plugins;
  }

  private static List<Path> files(Path folder, Predicate<String> wanted) throws IOException {
    List<Path> files = new ArrayList<>();
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder)) {
      for (Path entry : entries) {
        if (wanted.test(Objects.toString(entry.getFileName())) && !Files.isDirectory(entry)) {
          files.add(entry);
        }
      }
    } catch (NoSuchFileException | NotDirectoryException e) {
      return List.of();
    }
    files.sort(null);
    return files;
  }
}
