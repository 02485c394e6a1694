package io.berth.runtime;

import io.berth.runtime.ContainerException.Reason;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** The configured OCI runtimes by the name that a RuntimeClass uses. */
public final class RuntimeHandlers {
  private final String defaultName;
  private final Map<String, OciRuntime> byName;

  /**
   * Takes the handlers as configured.
   *
   * @param defaultName the one for pods that name none
   */
  public RuntimeHandlers(String defaultName, List<OciRuntime> runtimes) {
    this.defaultName = defaultName;
    Map<String, OciRuntime> map = new TreeMap<>();
    for (OciRuntime runtime : runtimes) {
      map.put(runtime.handler(), runtime);
    }
    this.byName = Collections.unmodifiableMap(new LinkedHashMap<>(map));
  }

  /**
   * The runtime of a handler.
   *
   * @param handler as the pod names it; empty is the default one
   * @throws ContainerException INVALID if no such handler is configured, UNSUPPORTED if its binary
   *     is missing
   */
  OciRuntime get(String handler) {
    String name = handler.isEmpty() ? defaultName : handler;
    OciRuntime runtime = byName.get(name);
    if (runtime == null) {
      throw new ContainerException(
          Reason.INVALID,
          "find runtime handler \""
              + name
              + "\": it isn't configured; the configured ones are "
              + byName.keySet()
              + "; add [runtimes."
              + name
              + "] to berthd's configuration or correct the RuntimeClass");
    }
    Path _ = runtime.binary(); // asked here, so that a pod fails before anything is made
    return runtime;
  }

  /**
   * What a handler's program can do; of one that isn't there, nothing.
   *
   * @param handler as a pod names it; empty is the default one
   */
  RuntimeFeatures features(String handler) throws InterruptedException {
    OciRuntime runtime = byName.get(handler.isEmpty() ? defaultName : handler);
    return runtime != null && runtime.isInstalled() ? runtime.features() : RuntimeFeatures.NONE;
  }

  /** Asks all programs what they can do, so that no pod and no status has to wait for it. */
  public void askFeatures() throws InterruptedException {
    for (String handler : names()) {
      var _ = features(handler);
    }
  }

  /** Whether a pod that names no handler can be run. */
  boolean isDefaultInstalled() {
    OciRuntime runtime = byName.get(defaultName);
    return runtime != null && runtime.isInstalled();
  }

  String defaultName() {
    return defaultName;
  }

  /** Those whose program is there. */
  List<String> names() {
    return byName.values().stream()
        .filter(OciRuntime::isInstalled)
        .map(OciRuntime::handler)
        .toList();
  }
}
