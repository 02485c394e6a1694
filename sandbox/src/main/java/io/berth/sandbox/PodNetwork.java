package io.berth.sandbox;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.cni.Attachment;
import io.berth.cni.Bandwidth;
import io.berth.cni.CapabilityArgs;
import io.berth.cni.CniException;
import io.berth.cni.CniNetworks;
import io.berth.cni.CniResult;
import io.berth.cni.NetworkStatus;
import io.berth.linux.Debt;
import io.berth.linux.ErrnoException;
import io.berth.linux.Mounts;
import io.berth.linux.Namespaces;
import io.berth.linux.PrivateFolder;
import io.berth.sandbox.SandboxException.Reason;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Connects a sandbox to the pod network: what CRI says about a pod in the terms of CNI, and CNI's
/// answer in the terms of CRI.
final class PodNetwork {
  static final String DELETE_DEBT = "cni-del";

  private static final Logger log = LoggerFactory.getLogger(PodNetwork.class);

  private final CniNetworks networks;
  private final SandboxLayout layout;

  PodNetwork(CniNetworks networks, SandboxLayout layout) {
    this.networks = networks;
    this.layout = layout;
  }

  /// @param ips the preferred address first
  record Address(List<String> ips, JsonNode result) {}

  /// Says before anything is made that ADD can't succeed.
  ///
  /// @throws SandboxException INVALID for a request that CNI can't be given, UNAVAILABLE without a
  ///   network
  void check(SandboxConfig config) {
    var _ = capabilities(config);
    NetworkStatus status = networks.status();
    if (!status.ready()) {
      throw new SandboxException(
          Reason.UNAVAILABLE,
          "run sandbox " + config.name() + ": the pod network isn't ready: " + status.message());
    }
  }

  /// What CNI is told beyond names.
  ///
  /// @throws SandboxException INVALID
  static CapabilityArgs capabilities(SandboxConfig config) {
    CapabilityArgs args =
        CapabilityArgs.none()
            .portMappings(
                config.portMappings().stream()
                    .filter(mapping -> mapping.hostPort() > 0)
                    .map(mapping -> published(config, mapping))
                    .toList());
    DnsConfig dns = config.dns();
    if (dns != null) {
      args = args.dns(new CapabilityArgs.DnsArgs(dns.servers(), dns.searches(), dns.options()));
    }
    try {
      Bandwidth bandwidth = Bandwidth.fromAnnotations(config.annotations()).orElse(null);
      return bandwidth == null ? args : args.bandwidth(bandwidth);
    } catch (CniException e) {
      throw new SandboxException(
          Reason.INVALID, "run sandbox " + config.name() + ": " + e.getMessage(), e);
    }
  }

  private static CapabilityArgs.PortMapping published(SandboxConfig config, PortMapping mapping) {
    if (mapping.hostPort() > 65535
        || mapping.containerPort() < 1
        || mapping.containerPort() > 65535) {
      throw new SandboxException(
          Reason.INVALID,
          "run sandbox "
              + config.name()
              + ": port "
              + mapping.containerPort()
              + " published as "
              + mapping.hostPort()
              + ": ports are numbers from 1 to 65535");
    }
    return new CapabilityArgs.PortMapping(
        mapping.hostPort(),
        mapping.containerPort(),
        mapping.protocol().name().toLowerCase(Locale.ROOT),
        mapping.hostIp().isEmpty() ? null : mapping.hostIp());
  }

  /// CNI ADD. After a failure [#delete] has to follow, as plugins leave behind what they did.
  ///
  /// @throws SandboxException UNAVAILABLE or FAILED, with the plugin's own words
  Address add(Sandbox sandbox) throws InterruptedException {
    CniResult result;
    try {
      result = networks.add(attachment(sandbox, layout.networkNamespace(sandbox.id())));
    } catch (CniException e) {
      throw failed(sandbox, e);
    }
    List<String> ips = preferred(result.addresses());
    if (ips.isEmpty()) {
      throw new SandboxException(
          Reason.FAILED,
          "run sandbox "
              + sandbox.id()
              + ": network "
              + result.network()
              + " gave "
              + result.ifName()
              + " no address; check the ipam section of its configuration");
    }
    return new Address(ips, result.raw());
  }

  /// IPv4 first, otherwise the plugin's order: CRI has one address and a list of further ones.
  static List<String> preferred(List<InetAddress> addresses) {
    return addresses.stream()
        .sorted(Comparator.comparing(address -> !(address instanceof Inet4Address)))
        .map(PodNetwork::text)
        .distinct()
        .toList();
  }

  /// RFC 5952, as Kubernetes writes addresses; Java writes every zero of an IPv6 address.
  static String text(InetAddress address) {
    byte[] bytes = address.getAddress();
    if (bytes.length == 4) {
      return address.getHostAddress();
    }
    String[] groups = new String[8];
    for (int i = 0; i < 8; i++) {
      groups[i] = Integer.toHexString((bytes[2 * i] & 0xff) << 8 | (bytes[2 * i + 1] & 0xff));
    }
    // The longest run of zero groups, the first of several, gives way to "::"; a single one
    // doesn't.
    int start = 0;
    int length = 1;
    for (int i = 0; i < 8; i++) {
      int end = i;
      while (end < 8 && groups[end].equals("0")) {
        end++;
      }
      if (end - i > length) {
        start = i;
        length = end - i;
      }
    }
    List<String> all = List.of(groups);
    return length == 1
        ? String.join(":", all)
        : String.join(":", all.subList(0, start))
            + "::"
            + String.join(":", all.subList(start + length, 8));
  }

  /// CNI DEL. The namespace may be gone, and nothing may be attached. After a failure the namespace
  /// is kept for the next attempt, whatever becomes of the sandbox.
  ///
  /// @throws CniException if the address may still be taken
  void delete(Sandbox sandbox) throws InterruptedException {
    SandboxId id = sandbox.id();
    Path namespace = layout.networkNamespace(id);
    try {
      networks.delete(attachment(sandbox, Files.exists(namespace) ? namespace : null));
    } catch (CniException | InterruptedException e) {
      keepNamespace(id);
      throw e;
    }
    Namespaces.unpin(layout.owedNamespace(id));
  }

  /// Keeps the network namespace of a sandbox for a DEL that comes later. Plugins do without one,
  /// but the bridge plugin then forgets its masquerading rules.
  void keepNamespace(SandboxId id) {
    Path kept = layout.owedNamespace(id);
    try {
      Path namespace = layout.networkNamespace(id).toRealPath();
      if (Namespaces.isPinned(namespace)) {
        Path folder = PrivateFolder.make(layout.owedNamespaces());
        Namespaces.unpin(kept); // of an earlier attempt
        Mounts.bind(namespace, Files.createFile(folder.resolve(id.value())));
      }
    } catch (NoSuchFileException _) {
      // it had none yet, or none any more
    } catch (IOException | UncheckedIOException | ErrnoException e) {
      log.warn(
          "keep the network namespace of sandbox {} for its cni del: {}", id, Failures.text(e));
    }
  }

  /// A DEL that is still due once the namespace is gone.
  static Debt deleteDebt(Sandbox sandbox) {
    SandboxName name = sandbox.name();
    return new Debt(
        DELETE_DEBT,
        sandbox.id().value(),
        Map.of("name", name.name(), "namespace", name.namespace(), "uid", name.uid()));
  }

  /// Settles what [#deleteDebt] describes.
  void delete(Debt debt) throws InterruptedException {
    Path kept = layout.owedNamespace(new SandboxId(debt.subject()));
    networks.delete(
        new Attachment(
            debt.subject(),
            Files.exists(kept) ? kept : null,
            debt.details().getOrDefault("name", ""),
            debt.details().getOrDefault("namespace", ""),
            debt.details().getOrDefault("uid", ""),
            // DEL takes those of ADD from the cache of results.
            CapabilityArgs.none()));
    Namespaces.unpin(kept);
  }

  private static Attachment attachment(Sandbox sandbox, @Nullable Path namespace) {
    SandboxName name = sandbox.name();
    return new Attachment(
        sandbox.id().value(),
        namespace,
        name.name(),
        name.namespace(),
        name.uid(),
        capabilities(sandbox.config()));
  }

  private static SandboxException failed(Sandbox sandbox, CniException e) {
    Reason reason =
        switch (e.reason()) {
          case NETWORK_NOT_READY, TRY_AGAIN -> Reason.UNAVAILABLE;
          case INVALID_ARGUMENT -> Reason.INVALID;
          case PLUGIN_FAILED, BAD_RESULT, TIMED_OUT, NOT_ATTACHED, CACHE_FAILED -> Reason.FAILED;
        };
    return new SandboxException(
        reason, "run sandbox " + sandbox.id() + " (" + sandbox.name() + "): " + e.getMessage(), e);
  }
}
