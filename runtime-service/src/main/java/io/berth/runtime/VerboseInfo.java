package io.berth.runtime;

import com.fasterxml.jackson.core.JsonProcessingException;
import io.berth.oci.Json;
import io.berth.oci.RuntimeSpec;
import io.berth.sandbox.LinuxResources;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxLayout;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What {@code crictl inspect} and {@code inspectp} show beside the status, under the names that
 * scripts look for: {@code .info.pid}, {@code .info.sandboxID}, {@code
 * .info.runtimeSpec.linux.namespaces} and so on. Each is one JSON object as text.
 */
final class VerboseInfo {
  private final ContainerLayout layout;
  private final SandboxLayout sandboxLayout;

  VerboseInfo(ContainerLayout layout, SandboxLayout sandboxLayout) {
    this.layout = layout;
    this.sandboxLayout = sandboxLayout;
  }

  /**
   * A pod without a process of its own has pid 0; its namespaces are to be entered by the paths.
   */
  String of(Sandbox sandbox) {
    Map<String, Object> info = new LinkedHashMap<>();
    info.put("pid", sandbox.initPid() == null ? 0 : sandbox.initPid());
    info.put("cgroup", sandbox.cgroup().path());
    info.put("overhead", resources(sandbox.config().overhead()));
    info.put("resources", resources(sandbox.config().resources()));
    info.put("config", sandbox.config());
    info.put("cniResult", sandbox.cniResult());
    info.put("runtimeSpec", spec(sandbox));
    return json(info);
  }

  /** Made up, as no OCI runtime ever sees a pod: scripts look for the network namespace here. */
  private RuntimeSpec spec(Sandbox sandbox) {
    SandboxLayout.Paths paths = sandboxLayout.paths(sandbox);
    List<RuntimeSpec.Namespace> namespaces = new ArrayList<>();
    add(namespaces, "user", paths.user() == null ? null : paths.user().pin());
    add(namespaces, "network", paths.network());
    add(namespaces, "ipc", paths.ipc());
    add(namespaces, "uts", paths.uts());
    Integer init = sandbox.initPid();
    add(namespaces, "pid", init == null ? null : Path.of("/proc/" + init + "/ns/pid"));
    return new RuntimeSpec(
        RuntimeSpec.VERSION,
        null,
        null,
        sandbox.hostname(),
        null,
        null,
        sandbox.config().annotations(),
        new RuntimeSpec.Linux(
            null,
            null,
            sandbox.config().sysctls(),
            null,
            sandbox.cgroup().path(),
            namespaces,
            null,
            null,
            null,
            null,
            null,
            null));
  }

  private static void add(
      List<RuntimeSpec.Namespace> namespaces, String type, @Nullable Path path) {
    if (path != null && Files.exists(path)) { // a stopped pod has none any more
      namespaces.add(new RuntimeSpec.Namespace(type, path.toString()));
    }
  }

  String of(Container container) throws IOException {
    Map<String, Object> info = new LinkedHashMap<>();
    info.put("sandboxID", container.sandboxId().value());
    info.put(
        "pid", container.init() == null || !container.state().live() ? 0 : container.init().pid());
    info.put("removing", container.state() == ContainerState.REMOVING);
    info.put("snapshotKey", container.id().value());
    info.put("snapshotter", "overlayfs");
    info.put("handler", container.handler());
    info.put("privileged", container.config().security().privileged());
    info.put("cgroup", container.cgroup());
    info.put("config", container.config());
    try {
      info.put(
          "runtimeSpec", Json.MAPPER.readTree(Files.readAllBytes(layout.spec(container.id()))));
    } catch (NoSuchFileException e) {
      // it went with the machine's last boot
    }
    return json(info);
  }

  /** As CRI names them; what isn't set is left out. */
  private static Map<String, Object> resources(@Nullable LinuxResources r) {
    Map<String, Object> linux = new LinkedHashMap<>();
    if (r != null) {
      put(linux, "cpu_period", r.cpuPeriod());
      put(linux, "cpu_quota", r.cpuQuota());
      put(linux, "cpu_shares", r.cpuShares());
      put(linux, "memory_limit_in_bytes", r.memoryLimit());
      put(linux, "memory_swap_limit_in_bytes", r.memorySwapLimit());
      put(linux, "oom_score_adj", r.oomScoreAdj());
      put(linux, "cpuset_cpus", r.cpusetCpus());
      put(linux, "cpuset_mems", r.cpusetMems());
      put(linux, "hugepage_limits", r.hugepageLimits());
      put(linux, "unified", r.unified());
    }
    return linux.isEmpty() ? Map.of() : Map.of("linux", linux);
  }

  private static void put(Map<String, Object> resources, String name, Object value) {
    if (!value.equals(0L) && !value.equals("") && !value.equals(Map.of())) {
      resources.put(name, value);
    }
  }

  private static String json(Map<String, Object> info) {
    try {
      return Json.MAPPER.writeValueAsString(info);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("write verbose info: " + e.getMessage(), e);
    }
  }
}
