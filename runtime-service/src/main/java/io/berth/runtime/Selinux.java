package io.berth.runtime;

import io.berth.linux.ErrnoException;
import io.berth.linux.FileLabels;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.NamespaceMode;
import io.berth.sandbox.NamespaceModes;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxConfig;
import io.berth.sandbox.SandboxSecurity.SelinuxOptions;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * SELinux labels of containers. User, role and type are those that the loaded policy has for
 * containers, in its file {@code lxc_contexts}; the level is the pod's, see {@link
 * Sandbox#selinuxLevel}. A request may name each of the four. The kernel is asked whether it knows
 * the result. Where SELinux isn't enabled nothing happens here, but what is asked for by name is
 * refused.
 */
public final class Selinux {
  /** {@code s0}, a range of these, and categories alone or as ranges: mcs(8). */
  private static final Pattern LEVEL =
      Pattern.compile("s[0-9]+(-s[0-9]+)?(:c[0-9]+(\\.c[0-9]+)?(,c[0-9]+(\\.c[0-9]+)?)*)?");

  private static final Pattern WORD = Pattern.compile("[A-Za-z0-9_.-]*");

  /** A machine whose own files have a container's label doesn't work any more. */
  private static final Set<String> OF_THE_MACHINE =
      Set.of(
          "/",
          "/bin",
          "/boot",
          "/dev",
          "/etc",
          "/etc/passwd",
          "/etc/pki",
          "/etc/shadow",
          "/home",
          "/lib",
          "/lib64",
          "/media",
          "/opt",
          "/proc",
          "/root",
          "/run",
          "/sbin",
          "/srv",
          "/sys",
          "/tmp",
          "/usr",
          "/var",
          "/var/lib",
          "/var/log",
          "/var/run");

  private final @Nullable Path kernel;
  private final Path configuration;

  /**
   * Reads nothing yet.
   *
   * @param kernel selinuxfs; absent where SELinux isn't enabled
   * @param configuration usually /etc/selinux
   */
  public Selinux(@Nullable Path kernel, Path configuration) {
    this.kernel = kernel;
    this.configuration = configuration;
  }

  /**
   * The labels of one container.
   *
   * @param process absent: what the policy gives to programs that the OCI runtime starts, which is
   *     the unconfined {@code spc_t}
   * @param files of its root, its own file systems and its own volumes; absent: as they are
   * @param shared of what other containers of any pod may use too, that is without categories
   */
  record Labels(@Nullable String process, @Nullable String files, @Nullable String shared) {
    static final Labels NONE = new Labels(null, null, null);

    /** Gives a volume and all in it to containers; the machine's own folders are refused. */
    void share(Path volume, Function<String, ContainerException> refuse) {
      if (shared == null) {
        return;
      }
      if (OF_THE_MACHINE.contains(volume.toString())) {
        throw refuse.apply(
            "relabelling "
                + volume
                + " for containers would take it from the machine; mount a folder beneath it");
      }
      try {
        FileLabels.setAll(volume, shared);
      } catch (ErrnoException e) {
        throw refuse.apply(
            volume + " can't be given the SELinux label " + shared + ": " + e.getMessage());
      }
    }
  }

  private record Context(String user, String role, String type) {
    static Context parse(String text) {
      String[] fields = text.split(":", 4);
      if (fields.length < 3) {
        throw new IllegalArgumentException("\"" + text + "\" isn't user:role:type");
      }
      return new Context(fields[0], fields[1], fields[2]);
    }

    Context with(SelinuxOptions asked) {
      return new Context(
          first(asked.user(), user), first(asked.role(), role), first(asked.type(), type));
    }

    String at(String level) {
      return user + ":" + role + ":" + type + ":" + level;
    }
  }

  /** Those of the policy. */
  private record Contexts(Context process, Context files, Context layers) {}

  /**
   * Refuses a pod whose label can't be had.
   *
   * @throws ContainerException INVALID
   */
  void require(SandboxConfig config) {
    SelinuxOptions asked = orNothing(config.security().selinux());
    if (isNamed(asked)) {
      Labels _ =
          labels(
              asked,
              first(asked.level(), "s0"),
              why ->
                  new ContainerException(
                      Reason.INVALID, "run sandbox " + config.name() + ": " + why));
    }
  }

  /**
   * The label of layers on disk, which programs in containers map but none of them writes to.
   *
   * @return empty: the policy knows of none
   */
  public Optional<String> layers() {
    return Optional.ofNullable(kernel == null ? null : contexts())
        .map(policy -> policy.layers().at("s0"))
        .filter(label -> kernel != null && isKnown(kernel, label));
  }

  /**
   * The labels of a container.
   *
   * @param refuse makes the refusal out of what is wrong
   */
  Labels of(
      Sandbox sandbox,
      ContainerConfig.Security security,
      Function<String, ContainerException> refuse) {
    SelinuxOptions asked = orNothing(security.selinux());
    NamespaceModes modes = security.namespaces();
    boolean amongTheMachines =
        modes.pid() == NamespaceMode.NODE || modes.ipc() == NamespaceMode.NODE;
    if (!isNamed(asked) && (kernel == null || amongTheMachines)) {
      // Confined to its own categories it couldn't see what it was given: the machine's processes.
      return Labels.NONE;
    }
    Labels labels = labels(asked, first(asked.level(), sandbox.selinuxLevel()), refuse);
    return security.privileged() ? new Labels(null, labels.files(), labels.shared()) : labels;
  }

  private Labels labels(
      SelinuxOptions asked, String level, Function<String, ContainerException> refuse) {
    if (kernel == null) {
      throw refuse.apply(
          "it asks for an SELinux label, but SELinux isn't enabled on this machine; remove its"
              + " seLinuxOptions");
    }
    for (String word : List.of(asked.user(), asked.role(), asked.type())) {
      if (!WORD.matcher(word).matches()) {
        throw refuse.apply(
            "\"" + SpecBuilder.printable(word) + "\" is no part of an SELinux label");
      }
    }
    if (!LEVEL.matcher(level).matches()) {
      throw refuse.apply(
          "SELinux level \"" + SpecBuilder.printable(level) + "\" isn't one such as s0:c1,c2");
    }
    Contexts policy = contexts();
    if (policy == null) {
      if (isNamed(asked)) {
        throw refuse.apply(
            "it asks for an SELinux label, but the policy has no contexts for containers; install"
                + " container-selinux, or remove its seLinuxOptions");
      }
      return Labels.NONE;
    }
    String process = policy.process().with(asked).at(level);
    // Files have a type of their own, and no role.
    Context files =
        new Context(
            first(asked.user(), policy.files().user()),
            policy.files().role(),
            policy.files().type());
    for (String label : List.of(process, files.at(level))) {
      if (!isKnown(kernel, label)) {
        if (!isNamed(asked)) {
          return Labels
              .NONE; // lxc_contexts of a policy without its containers, as Debian 12 has it
        }
        throw refuse.apply(
            "SELinux label "
                + label
                + " isn't known to the loaded policy; correct seLinuxOptions, or the policy's"
                + " lxc_contexts");
      }
    }
    return new Labels(process, files.at(level), files.at(level.replaceFirst(":.*", "")));
  }

  /** The kernel takes a label that its policy knows, and refuses any other with EINVAL. */
  private static boolean isKnown(Path kernel, String label) {
    try (OutputStream file =
        Files.newOutputStream(kernel.resolve("context"), StandardOpenOption.WRITE)) {
      file.write(label.getBytes(StandardCharsets.UTF_8));
      return true;
    } catch (IOException e) {
      return false;
    }
  }

  /** Absent: the policy knows of no containers. */
  private @Nullable Contexts contexts() {
    try {
      String policy =
          values(configuration.resolve("config")).getOrDefault("SELINUXTYPE", "targeted");
      Map<String, String> contexts =
          values(configuration.resolve(policy).resolve("contexts/lxc_contexts"));
      String process = contexts.get("process");
      String files = contexts.get("file");
      return process == null || files == null
          ? null
          : new Contexts(
              Context.parse(process),
              Context.parse(files),
              Context.parse(contexts.getOrDefault("ro_file", files)));
    } catch (IOException | IllegalArgumentException e) {
      return null;
    }
  }

  /** Lines {@code key = "value"}, with or without quotes. */
  private static Map<String, String> values(Path file) throws IOException {
    Map<String, String> values = new HashMap<>();
    for (String line : Files.readAllLines(file)) {
      int equals = line.indexOf('=');
      if (equals > 0 && !line.startsWith("#")) {
        values.put(
            line.substring(0, equals).strip(),
            line.substring(equals + 1).strip().replaceAll("^\"|\"$", ""));
      }
    }
    return values;
  }

  private static SelinuxOptions orNothing(@Nullable SelinuxOptions asked) {
    return asked == null ? new SelinuxOptions("", "", "", "") : asked;
  }

  private static boolean isNamed(SelinuxOptions asked) {
    return !(asked.user() + asked.role() + asked.type() + asked.level()).isEmpty();
  }

  private static String first(String wanted, String otherwise) {
    return wanted.isEmpty() ? otherwise : wanted;
  }
}
