package io.berth.sandbox;

import static io.berth.sandbox.SandboxException.Reason.INVALID;

import io.berth.sandbox.SandboxException.Reason;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/// The kernel parameters of a pod: only those that the kernel keeps per network or IPC namespace,
/// and only when the pod has that namespace of its own.
///
/// @param settings value by path below `/proc/sys`, in the order in which they are written
record Sysctls(Map<Path, String> settings) {
  private static final Path PROC_SYS = Path.of("/proc/sys");
  private static final Pattern SEGMENT = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9_.:@-]*");
  private static final Pattern PRINTABLE = Pattern.compile("[\\x20-\\x7e\\t]+");
  private static final List<String> IPC_KERNEL = List.of("shm", "msg", "sem");

  /// Lets processes without privilege listen on low ports and open ICMP sockets: in a network of
  /// the pod's own neither harms the machine. The pod's own settings come later and win.
  private static final Map<Path, String> NETWORK_DEFAULTS = networkDefaults();

  private static Map<Path, String> networkDefaults() {
    Map<Path, String> defaults = new LinkedHashMap<>();
    defaults.put(Path.of("net/ipv4/ip_unprivileged_port_start"), "0");
    defaults.put(Path.of("net/ipv4/ping_group_range"), "0 2147483647");
    return defaults;
  }

  /// @throws SandboxException INVALID, naming the first parameter that is malformed or unsuitable
  static Sysctls of(SandboxConfig config) {
    boolean network = config.namespaces().network() == NamespaceMode.POD;
    boolean ipc = config.namespaces().ipc() == NamespaceMode.POD;
    Map<Path, String> settings = new LinkedHashMap<>();
    if (network) {
      settings.putAll(NETWORK_DEFAULTS);
    }
    config
        .sysctls()
        .forEach((name, rawValue) -> {
          Path path = path(config, name);
          String value = rawValue.strip();
          if (!PRINTABLE.matcher(value).matches()) {
            throw refuse(config, name, "its value is empty or not plain text");
          }
          switch (owner(path)) {
            case NETWORK -> {
              if (!network) {
                throw refuse(
                    config,
                    name,
                    "it belongs to the network, which this pod shares with the machine; give the pod a"
                        + " network of its own or remove the sysctl");
              }
            }
            case IPC -> {
              if (!ipc) {
                throw refuse(
                    config,
                    name,
                    "it belongs to IPC, which this pod shares with the machine; give the pod IPC of its"
                        + " own or remove the sysctl");
              }
            }
            case MACHINE ->
                throw refuse(
                    config,
                    name,
                    "the kernel has it once for the whole machine; a pod may set net.*, kernel.shm*,"
                        + " kernel.msg*, kernel.sem and fs.mqueue.*");
          }
          settings.put(path, value);
        });
    return new Sysctls(settings);
  }

  private enum Owner {
    NETWORK,
    IPC,
    MACHINE
  }

  private static Owner owner(Path path) {
    String first = path.getName(0).toString();
    String second = path.getNameCount() > 1 ? path.getName(1).toString() : "";
    return switch (first) {
      case "net" -> Owner.NETWORK;
      case "fs" -> second.equals("mqueue") ? Owner.IPC : Owner.MACHINE;
      case "kernel" ->
          path.getNameCount() == 2 && IPC_KERNEL.stream().anyMatch(second::startsWith)
              ? Owner.IPC
              : Owner.MACHINE;
      default -> Owner.MACHINE;
    };
  }

  /// As sysctl(8) reads a name: whichever of `.` and `/` comes first separates, and the other
  /// stands for the first inside a segment, so `net.ipv4.conf.eno1/5.rp_filter` is the interface
  /// `eno1.5`.
  private static Path path(SandboxConfig config, String rawName) {
    String name = rawName.strip();
    int dot = name.indexOf('.');
    int slash = name.indexOf('/');
    boolean slashed = slash >= 0 && (dot < 0 || slash < dot);
    String[] segments = name.split(slashed ? "/" : "\\.", -1);
    if (!slashed) {
      segments = Arrays.stream(segments).map(s -> s.replace('/', '.')).toArray(String[]::new);
    }
    if (segments.length < 2) {
      throw refuse(config, rawName, "the name has no part before a dot");
    }
    for (String segment : segments) {
      if (!SEGMENT.matcher(segment).matches()) {
        throw refuse(config, rawName, "the name is malformed");
      }
    }
    return Path.of(String.join("/", segments));
  }

  /// Writes the settings. The kernel looks up the namespaces of the calling thread, so this has to
  /// run on the thread that is inside.
  void apply(SandboxName name) {
    settings.forEach((path, value) -> {
      try {
        // One write(2), and no O_CREAT, which procfs refuses.
        Files.write(
            PROC_SYS.resolve(path),
            value.getBytes(StandardCharsets.US_ASCII),
            StandardOpenOption.WRITE);
      } catch (NoSuchFileException e) {
        // A kernel built without IPv4 ping sockets has nothing to open up.
        if (!NETWORK_DEFAULTS.containsKey(path)) {
          throw new SandboxException(
              INVALID,
              "run sandbox "
                  + name
                  + ": sysctl "
                  + path
                  + ": the kernel has no such parameter per namespace; remove it",
              e);
        }
      } catch (IOException e) {
        throw new SandboxException(
            INVALID,
            "run sandbox "
                + name
                + ": set sysctl "
                + path
                + " to \""
                + value
                + "\": "
                + Failures.text(e)
                + "; check that the value is in the kernel's range",
            e);
      }
    });
  }

  private static SandboxException refuse(SandboxConfig config, String name, String why) {
    return new SandboxException(
        Reason.INVALID, "run sandbox " + config.name() + ": sysctl \"" + name + "\": " + why);
  }
}
