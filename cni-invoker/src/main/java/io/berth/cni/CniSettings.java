package io.berth.cni;

import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Where networks and plugins are and how long they may take.
 *
 * @param confDir network configurations, usually {@code /etc/cni/net.d}; may not exist yet
 * @param binDirs folders searched for plugins, in order; handed to them as CNI_PATH
 * @param cacheDir results are kept in its folder {@code results}; usually {@code /var/lib/cni}
 * @param ifName the pod's interface; kubelet expects {@code eth0}
 * @param deleteTimeout for one DEL with all its plugins, and for each plugin's GC; ADD is bounded
 *     by its caller's interruption
 * @param statusInterval between two STATUS calls; a failing network is asked every second
 * @param statusTimeout for one STATUS or VERSION call of one plugin
 * @param environment what plugins inherit besides the CNI_ variables
 */
public record CniSettings(
    Path confDir,
    List<Path> binDirs,
    Path cacheDir,
    String ifName,
    Duration deleteTimeout,
    Duration statusInterval,
    Duration statusTimeout,
    Map<String, String> environment) {

  public CniSettings {
    binDirs = List.copyOf(binDirs);
    environment = Map.copyOf(environment);
    if (binDirs.isEmpty()) {
      throw new IllegalArgumentException("no folder to search for CNI plugins");
    }
    if (!ifName.matches("[^/:\\s]{1,15}") || ifName.equals(".") || ifName.equals("..")) {
      throw new IllegalArgumentException(
          "interface name \"" + ifName + "\": 1 to 15 characters, no /, : or white space");
    }
  }

  /**
   * Interface eth0, 60 s for DEL, STATUS every 10 s for at most 5 s, and this process's
   * environment.
   */
  public static CniSettings of(Path confDir, List<Path> binDirs, Path cacheDir) {
    return new CniSettings(
        confDir,
        binDirs,
        cacheDir,
        "eth0",
        Duration.ofSeconds(60),
        Duration.ofSeconds(10),
        Duration.ofSeconds(5),
        inherited());
  }

  public CniSettings withDeleteTimeout(Duration timeout) {
    return new CniSettings(
        confDir, binDirs, cacheDir, ifName, timeout, statusInterval, statusTimeout, environment);
  }

  public CniSettings withStatus(Duration interval, Duration timeout) {
    return new CniSettings(
        confDir, binDirs, cacheDir, ifName, deleteTimeout, interval, timeout, environment);
  }

  /**
   * What systemd hands to a service is meant for it alone: a plugin must not report in the daemon's
   * name.
   */
  private static Map<String, String> inherited() {
    Map<String, String> environment = new HashMap<>(System.getenv());
    environment
        .keySet()
        .removeIf(name ->
            name.startsWith("CNI_")
                || name.startsWith("LISTEN_")
                || name.equals("NOTIFY_SOCKET")
                || name.startsWith("WATCHDOG_"));
    environment.putIfAbsent("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    return environment;
  }
}
