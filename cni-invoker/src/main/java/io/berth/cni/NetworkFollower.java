package io.berth.cni;

import io.berth.linux.FolderWatch;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Keeps the present network as an immutable value that anyone reads without waiting. One thread
 * follows the folder of configurations and is the only one to change it. STATUS is asked by a
 * {@link StatusPoller} of each network, so that a plugin that hangs never delays a change of
 * configuration.
 */
final class NetworkFollower implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(NetworkFollower.class);

  /**
   * The watch tells of changes at once; what it can't see is found by looking again: plugins that
   * go, file systems whose changes inotify doesn't report.
   */
  private static final Duration LOOK_AGAIN = Duration.ofSeconds(10);

  /**
   * While something is wrong, which somebody may be mending, or plugins are in a folder beneath.
   */
  private static final Duration LOOK_SOON = Duration.ofSeconds(1);

  private final CniSettings settings;
  private final PluginProcess plugins;
  private final NetworkConfigLoader loader;
  private final PluginVersions versions;
  private final Semaphore wake = new Semaphore(0);
  private final Thread thread = Thread.ofVirtual().name("cni-config").unstarted(this::follow);

  private @Nullable FolderWatch watch; // of those who start and close it
  private volatile Loaded loaded = new Loaded(null, null, List.of(), List.of(), null);

  /**
   * What the folders say.
   *
   * @param file that defines the network
   * @param skipped one sentence for each broken file
   * @param missing one sentence for each plugin that isn't installed
   * @param poller null when the network doesn't know STATUS
   */
  private record Loaded(
      @Nullable Network network,
      @Nullable Path file,
      List<String> skipped,
      List<String> missing,
      @Nullable StatusPoller poller) {}

  NetworkFollower(CniSettings settings, PluginProcess plugins) {
    this.settings = settings;
    this.plugins = plugins;
    this.loader = new NetworkConfigLoader(settings.confDir());
    this.versions = new PluginVersions(plugins, settings.statusTimeout());
  }

  /** Loads the network, then follows it until closed. */
  void start() {
    watch = FolderWatch.start(settings.confDir(), _ -> wake.release());
    refresh();
    thread.start();
  }

  @Nullable Network network() {
    return loaded.network();
  }

  NetworkStatus status() {
    Loaded now = loaded;
    String problem = problem(now);
    return new NetworkStatus(
        problem.isEmpty(),
        problem,
        now.network() == null ? null : now.network().name(),
        now.file(),
        now.skipped());
  }

  private String problem(Loaded now) {
    if (now.network() == null) {
      return now.skipped().isEmpty()
          ? "no CNI configuration in " + settings.confDir() + "; put a .conflist file there"
          : "no valid CNI configuration in "
              + settings.confDir()
              + "; correct "
              + String.join("; ", now.skipped());
    }
    if (!now.missing().isEmpty()) {
      return "network "
          + now.network().name()
          + " ("
          + now.file()
          + "): "
          + String.join("; ", now.missing());
    }
    return now.poller() == null ? "" : now.poller().problem();
  }

  private void follow() {
    try {
      while (!Thread.interrupted()) {
        Duration pause = isToldOfAll(loaded) ? LOOK_AGAIN : LOOK_SOON;
        boolean _ = wake.tryAcquire(pause.toMillis(), TimeUnit.MILLISECONDS);
        int _ = wake.drainPermits();
        try {
          refresh();
        } catch (RuntimeException e) {
          log.error("cni configuration in {} could not be followed", settings.confDir(), e);
        }
      }
    } catch (InterruptedException e) {
      // closed
    }
  }

  private boolean isToldOfAll(Loaded now) {
    return now.network() != null
        && now.skipped().isEmpty()
        && now.missing().isEmpty()
        && !Files.isDirectory(settings.confDir().resolve(now.network().name()));
  }

  private void refresh() {
    Loaded before = loaded;
    NetworkConfigLoader.Found found = loader.load();
    Network network = found.network() == null ? null : versions.choose(found.network());
    // Written anew without a change: what the plugins said to STATUS still holds.
    boolean changed = !Objects.equals(network, before.network());
    StatusPoller poller = before.poller();
    if (changed) {
      poller =
          network != null && network.version().atLeast(CniVersion.V1_1_0)
              ? StatusPoller.start(network, settings, plugins)
              : null;
    }
    loaded = new Loaded(network, found.file(), found.skipped(), missing(network), poller);
    if (changed) {
      if (before.poller() != null) {
        before.poller().close();
      }
      log.info(
          "network in use: {}",
          network == null
              ? "none"
              : network.name() + ", CNI " + network.version() + ", from " + found.file());
    }
    found.skipped().stream()
        .filter(problem -> !before.skipped().contains(problem))
        .forEach(problem -> log.warn("cni configuration is passed over: {}", problem));
  }

  private List<String> missing(@Nullable Network network) {
    List<String> missing = new ArrayList<>();
    if (network != null) {
      network.plugins().stream()
          .map(Network.Plugin::type)
          .distinct()
          .filter(type -> plugins.find(type).isEmpty())
          .forEach(type -> missing.add(plugins.missing(type)));
    }
    return List.copyOf(missing);
  }

  /** Ends the threads; plugin calls of theirs under way are killed. */
  @Override
  public void close() {
    thread.interrupt();
    boolean interrupted = false;
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (loaded.poller() != null) {
      loaded.poller().close();
    }
    if (watch != null) {
      watch.close();
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
