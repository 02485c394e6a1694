package io.berth.cni;

import java.time.Duration;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Asks the plugins of one network by STATUS whether they could connect a pod, again and again, and
 * keeps the answer for those who want to know at once.
 */
final class StatusPoller implements AutoCloseable {
  private static final Duration RETRY_FAILED = Duration.ofSeconds(1);

  private final Network network;
  private final CniSettings settings;
  private final PluginProcess plugins;
  private final Thread thread;
  private volatile String problem;

  private StatusPoller(Network network, CniSettings settings, PluginProcess plugins) {
    this.network = network;
    this.settings = settings;
    this.plugins = plugins;
    this.problem = "network " + network.name() + " has not answered STATUS yet";
    this.thread = Thread.ofVirtual().name("cni-status " + network.name()).unstarted(this::poll);
  }

  static StatusPoller start(Network network, CniSettings settings, PluginProcess plugins) {
    StatusPoller poller = new StatusPoller(network, settings, plugins);
    poller.thread.start();
    return poller;
  }

  /** Empty when the plugins are ready. */
  String problem() {
    return problem;
  }

  /** Ends it and kills a call under way. */
  @Override
  public void close() {
    thread.interrupt();
  }

  private void poll() {
    int failures = 0;
    try {
      while (!Thread.interrupted()) {
        String said = ask();
        failures = said == null ? 0 : failures + 1;
        if (said == null) {
          problem = "";
        } else if (failures > 1 || !problem.isEmpty()) {
          problem = said;
        }
        // Else it was ready and failed once: a hiccup, until it fails again, must not make the node
        // NotReady.
        Thread.sleep(said == null ? settings.statusInterval() : RETRY_FAILED);
      }
    } catch (InterruptedException e) {
      // closed
    }
  }

  private @Nullable String ask() throws InterruptedException {
    try {
      for (Network.Plugin plugin : network.plugins()) {
        byte[] _ =
            plugins.run(
                new PluginProcess.Call(
                    "cni status of network " + network.name(),
                    PluginProcess.Command.STATUS,
                    plugin.type(),
                    Map.of(),
                    network.request(plugin)),
                settings.statusTimeout());
      }
      return null;
    } catch (CniException e) {
      return e.getMessage();
    } catch (RuntimeException e) {
      return "cni status of network " + network.name() + ": " + e.getMessage();
    }
  }
}
