package io.berth.sandbox;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// Pod configurations for tests: an ordinary one and changes to it.
final class Configs {
  private Configs() {}

  /// On the network of the machine, so that no network is needed.
  static SandboxConfig hostNetwork(String name) {
    return pod(name)
        .with(
            new NamespaceModes(
                NamespaceMode.NODE, NamespaceMode.CONTAINER, NamespaceMode.NODE, null, ""));
  }

  static Builder pod(String name) {
    return new Builder(name);
  }

  /// Fields that tests change; [#build] gives the configuration.
  static final class Builder {
    private final SandboxName name;
    String hostname = "web-1";
    @Nullable DnsConfig dns;
    List<PortMapping> ports = List.of();
    Map<String, String> annotations = Map.of();
    String cgroupParent = "";
    Map<String, String> sysctls = Map.of();
    NamespaceModes modes = NamespaceModes.ordinary();

    Builder(String name) {
      this.name = new SandboxName(name, "default", "uid-" + name, 0);
    }

    SandboxConfig with(NamespaceModes modes) {
      this.modes = modes;
      return build();
    }

    Builder hostname(String value) {
      hostname = value;
      return this;
    }

    Builder dns(DnsConfig value) {
      dns = value;
      return this;
    }

    Builder ports(PortMapping... values) {
      ports = List.of(values);
      return this;
    }

    Builder annotations(Map<String, String> values) {
      annotations = values;
      return this;
    }

    Builder cgroupParent(String value) {
      cgroupParent = value;
      return this;
    }

    Builder sysctl(String key, String value) {
      sysctls = Map.of(key, value);
      return this;
    }

    Builder modes(NamespaceMode network, NamespaceMode pid, NamespaceMode ipc) {
      modes = new NamespaceModes(network, pid, ipc, null, "");
      return this;
    }

    SandboxConfig build() {
      return new SandboxConfig(
          name,
          hostname,
          "/var/log/pods/" + name.name(),
          dns,
          ports,
          Map.of("app", name.name()),
          annotations,
          cgroupParent,
          sysctls,
          modes,
          SandboxSecurity.none(),
          null,
          null);
    }
  }
}
