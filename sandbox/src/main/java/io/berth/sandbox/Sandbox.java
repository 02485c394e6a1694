package io.berth.sandbox;

import static java.util.Objects.requireNonNull;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// A sandbox as it stood at one moment, and the record that is kept of it.
///
/// @param handler the runtime handler, as requested; empty is the default one
/// @param createdAtNanos nanoseconds since 1970; never changes, the kubelet sorts by it
/// @param bootId the boot of the machine in which the namespaces were made
/// @param hostname what `/etc/hostname` and `HOSTNAME` say; the kernel agrees unless the pod is on
///   the network of the machine
/// @param cgroup the pod's cgroup, which is the parent of its containers' cgroups
/// @param ips the addresses of `eth0`, the preferred one first; empty on the network of the
///   machine, and once they have been given back
/// @param cniResult what the last CNI plugin answered; absent on the network of the machine
/// @param initPid the process of [PodInit], only when containers share one PID namespace
public record Sandbox(
    SandboxId id,
    SandboxConfig config,
    String handler,
    SandboxState state,
    long createdAtNanos,
    String bootId,
    String hostname,
    PodCgroup cgroup,
    List<String> ips,
    @Nullable JsonNode cniResult,
    @Nullable Integer initPid) {
  public Sandbox {
    // A record on disk that lacks one of these is broken, and is refused rather than half
    // understood.
    requireNonNull(id, "id");
    requireNonNull(config, "config");
    requireNonNull(state, "state");
    requireNonNull(cgroup, "cgroup");
    handler = Copies.of(handler);
    bootId = Copies.of(bootId);
    hostname = Copies.of(hostname);
    ips = Copies.of(ips);
  }

  public SandboxName name() {
    return config.name();
  }

  /// The SELinux level of its containers: that of the request, else categories that no other pod
  /// has.
  public String selinuxLevel() {
    SandboxSecurity.SelinuxOptions asked = config.security().selinux();
    return asked == null || asked.level().isEmpty() ? id.selinuxLevel() : asked.level();
  }

  /// Whether the pod has a network namespace of its own.
  public boolean ownNetwork() {
    return config.namespaces().network() == NamespaceMode.POD;
  }

  /// Whether the pod has an IPC namespace, and with it a `/dev/shm`, of its own.
  public boolean ownIpc() {
    return config.namespaces().ipc() == NamespaceMode.POD;
  }

  /// Whether the containers share one PID namespace.
  public boolean sharedPid() {
    return config.namespaces().pid() == NamespaceMode.POD;
  }

  Sandbox withState(SandboxState next) {
    return new Sandbox(
        id,
        config,
        handler,
        next,
        createdAtNanos,
        bootId,
        hostname,
        cgroup,
        ips,
        cniResult,
        initPid);
  }

  Sandbox withConfig(SandboxConfig changed) {
    return new Sandbox(
        id,
        changed,
        handler,
        state,
        createdAtNanos,
        bootId,
        hostname,
        cgroup,
        ips,
        cniResult,
        initPid);
  }

  Sandbox withNetwork(PodNetwork.Address address) {
    return new Sandbox(
        id,
        config,
        handler,
        state,
        createdAtNanos,
        bootId,
        hostname,
        cgroup,
        address.ips(),
        address.result(),
        initPid);
  }

  Sandbox withInit(int pid) {
    return new Sandbox(
        id, config, handler, state, createdAtNanos, bootId, hostname, cgroup, ips, cniResult, pid);
  }

  /// As it is when nothing of it runs or is reachable any more.
  Sandbox stopped() {
    return new Sandbox(
        id,
        config,
        handler,
        SandboxState.STOPPED,
        createdAtNanos,
        bootId,
        hostname,
        cgroup,
        List.of(),
        cniResult,
        null);
  }
}
