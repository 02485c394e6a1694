package io.berth.runtime;

import io.berth.oci.RuntimeSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.function.Function;

/** The capability sets of a container's first process, capabilities(7). */
final class Capabilities {
  private static final String ALL = "ALL";

  /** By number: the order is the kernel's, linux/capability.h. */
  private static final List<String> KNOWN =
      List.of(
          "CAP_CHOWN",
          "CAP_DAC_OVERRIDE",
          "CAP_DAC_READ_SEARCH",
          "CAP_FOWNER",
          "CAP_FSETID",
          "CAP_KILL",
          "CAP_SETGID",
          "CAP_SETUID",
          "CAP_SETPCAP",
          "CAP_LINUX_IMMUTABLE",
          "CAP_NET_BIND_SERVICE",
          "CAP_NET_BROADCAST",
          "CAP_NET_ADMIN",
          "CAP_NET_RAW",
          "CAP_IPC_LOCK",
          "CAP_IPC_OWNER",
          "CAP_SYS_MODULE",
          "CAP_SYS_RAWIO",
          "CAP_SYS_CHROOT",
          "CAP_SYS_PTRACE",
          "CAP_SYS_PACCT",
          "CAP_SYS_ADMIN",
          "CAP_SYS_BOOT",
          "CAP_SYS_NICE",
          "CAP_SYS_RESOURCE",
          "CAP_SYS_TIME",
          "CAP_SYS_TTY_CONFIG",
          "CAP_MKNOD",
          "CAP_LEASE",
          "CAP_AUDIT_WRITE",
          "CAP_AUDIT_CONTROL",
          "CAP_SETFCAP",
          "CAP_MAC_OVERRIDE",
          "CAP_MAC_ADMIN",
          "CAP_SYSLOG",
          "CAP_WAKE_ALARM",
          "CAP_BLOCK_SUSPEND",
          "CAP_AUDIT_READ",
          "CAP_PERFMON",
          "CAP_BPF",
          "CAP_CHECKPOINT_RESTORE");

  /** What a container has that asks for nothing; the same as with containerd. */
  private static final Set<String> DEFAULT =
      Set.of(
          "CAP_CHOWN",
          "CAP_DAC_OVERRIDE",
          "CAP_FSETID",
          "CAP_FOWNER",
          "CAP_MKNOD",
          "CAP_NET_RAW",
          "CAP_SETGID",
          "CAP_SETUID",
          "CAP_SETFCAP",
          "CAP_SETPCAP",
          "CAP_NET_BIND_SERVICE",
          "CAP_SYS_CHROOT",
          "CAP_KILL",
          "CAP_AUDIT_WRITE");

  private Capabilities() {}

  /** Those that are effective in this process. */
  static Set<String> ofThisProcess() throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("CapEff:")) {
        return named(Long.parseUnsignedLong(line.substring("CapEff:".length()).strip(), 16));
      }
    }
    throw new IOException("/proc/self/status has no line CapEff");
  }

  /** The names of the bits of a mask; bits without a name are left out. */
  static Set<String> named(long mask) {
    Set<String> names = new LinkedHashSet<>();
    for (int bit = 0; bit < KNOWN.size(); bit++) {
      if ((mask >>> bit & 1) != 0) {
        names.add(KNOWN.get(bit));
      }
    }
    return names;
  }

  /**
   * {@code ALL} first, then the single names, adding before dropping. Ambient capabilities have to
   * be inheritable too, and nothing else is.
   *
   * @param host what the daemon has: {@code ALL} and the default mean that part of it
   * @param refusal makes the exception from its reason, a sentence
   */
  static RuntimeSpec.Capabilities granted(
      ContainerConfig.Security security,
      Set<String> host,
      Function<String, ContainerException> refusal) {
    List<String> add = security.addCapabilities();
    List<String> drop = security.dropCapabilities();
    Set<String> granted = new LinkedHashSet<>(DEFAULT);
    granted.retainAll(host);
    if (security.privileged() || namesAll(add)) {
      granted.addAll(host);
    }
    Set<String> ambient = new LinkedHashSet<>();
    if (!security.privileged()) {
      if (namesAll(drop)) {
        granted.clear();
      }
      granted.addAll(given(add, host, refusal));
      if (namesAll(security.addAmbientCapabilities())) {
        ambient.addAll(host);
      }
      ambient.addAll(given(security.addAmbientCapabilities(), host, refusal));
      granted.addAll(ambient);
      Set<String> dropped = parse(drop, refusal);
      granted.removeAll(dropped);
      ambient.removeAll(dropped);
    }
    List<String> set = ordered(granted);
    List<String> raised = ordered(ambient);
    return new RuntimeSpec.Capabilities(set, set, raised, set, raised);
  }

  private static boolean namesAll(Collection<String> names) {
    return names.stream().anyMatch(ALL::equalsIgnoreCase);
  }

  private static Set<String> given(
      List<String> names, Set<String> host, Function<String, ContainerException> refusal) {
    Set<String> parsed = parse(names, refusal);
    for (String name : parsed) {
      if (!host.contains(name)) {
        throw refusal.apply(
            "capability "
                + name
                + " can't be given, as berthd doesn't have it itself; don't add it");
      }
    }
    return parsed;
  }

  private static Set<String> parse(
      List<String> names, Function<String, ContainerException> refusal) {
    Set<String> parsed = new LinkedHashSet<>();
    for (String name : names) {
      String upper = name.toUpperCase(Locale.ROOT);
      String full = upper.startsWith("CAP_") ? upper : "CAP_" + upper;
      if (KNOWN.contains(full)) {
        parsed.add(full);
      } else if (!upper.equals(ALL)) {
        throw refusal.apply(
            "capability \"" + name + "\" doesn't exist; see capabilities(7) for the names");
      }
    }
    return parsed;
  }

  private static List<String> ordered(Set<String> names) {
    List<String> ordered = new ArrayList<>(KNOWN);
    ordered.retainAll(names);
    return List.copyOf(ordered);
  }
}
