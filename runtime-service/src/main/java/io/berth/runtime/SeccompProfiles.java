package io.berth.runtime;

import io.berth.oci.Json;
import io.berth.oci.Seccomp;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.SandboxSecurity.SecurityProfile;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The system call filter of a container: our own default, or a file of the operator's. Both may
 * carry the conditions of the format that Docker, Podman and CRI-O share (rules that hold only with
 * or without a capability, on an architecture, from a kernel version on); they are decided here,
 * and what comes out is the OCI form. Names that libseccomp doesn't know are passed on: the OCI
 * runtimes leave them out.
 */
final class SeccompProfiles {
  private static final String DEFAULT = "seccomp-default.json";
  private static final int LONGEST_FILE = 4 << 20;

  private final Machine machine;
  private final Profile standard;

  /**
   * What conditions are decided by.
   *
   * @param architecture as Go and the profiles call it: {@code amd64, arm64}
   */
  record Machine(String architecture, String kernel) {
    static Machine current() {
      String name = System.getProperty("os.arch");
      return new Machine(name.equals("aarch64") ? "arm64" : name, System.getProperty("os.version"));
    }

    /** As libseccomp calls the architecture. */
    private String seccompName() {
      return switch (architecture) {
        case "amd64" -> "SCMP_ARCH_X86_64";
        case "arm64" -> "SCMP_ARCH_AARCH64";
        default -> "SCMP_ARCH_" + architecture;
      };
    }
  }

  /** A file as it is read; everything may be missing. */
  private record Profile(
      @Nullable String defaultAction,
      @Nullable Integer defaultErrnoRet,
      @Nullable List<String> architectures,
      @Nullable List<Architecture> archMap,
      @Nullable List<String> flags,
      @Nullable String listenerPath,
      @Nullable String listenerMetadata,
      @Nullable List<Rule> syscalls) {}

  private record Architecture(String architecture, @Nullable List<String> subArchitectures) {}

  private record Rule(
      @Nullable String name,
      @Nullable List<String> names,
      @Nullable String action,
      @Nullable Integer errnoRet,
      @Nullable List<Seccomp.Argument> args,
      @Nullable Condition includes,
      @Nullable Condition excludes) {

    List<String> allNames() {
      if (names != null && !names.isEmpty()) {
        return names;
      }
      return name == null ? List.of() : List.of(name);
    }
  }

  private record Condition(
      @Nullable List<String> caps, @Nullable List<String> arches, @Nullable String minKernel) {}

  SeccompProfiles() {
    this(Machine.current());
  }

  SeccompProfiles(Machine machine) {
    this.machine = machine;
    try (InputStream in = SeccompProfiles.class.getResourceAsStream(DEFAULT)) {
      if (in == null) {
        throw new IllegalStateException(DEFAULT + " is missing from this build");
      }
      this.standard = Json.read(in.readAllBytes(), Profile.class, DEFAULT);
    } catch (IOException e) {
      throw new UncheckedIOException("read " + DEFAULT + ": " + e.getMessage(), e);
    }
  }

  /**
   * The filter for a process.
   *
   * @param wanted absent means unconfined
   * @param capabilities those granted: they widen the profile
   * @return absent: no filter
   * @throws ContainerException INVALID, if the file of a localhost profile is missing or broken
   */
  @Nullable Seccomp filter(@Nullable SecurityProfile wanted, Collection<String> capabilities) {
    if (wanted == null) {
      return null;
    }
    return switch (wanted.kind()) {
      case UNCONFINED -> null;
      case RUNTIME_DEFAULT -> decide(standard, capabilities);
      case LOCALHOST -> decide(read(wanted.localhostRef()), capabilities);
    };
  }

  private static Profile read(String file) {
    if (!file.startsWith("/")) {
      throw refuse(file, "it must be an absolute path", null);
    }
    try (InputStream in = Files.newInputStream(Path.of(file))) {
      byte[] document = in.readNBytes(LONGEST_FILE + 1);
      if (document.length > LONGEST_FILE) {
        throw refuse(file, "it is longer than " + LONGEST_FILE + " bytes", null);
      }
      Profile profile = Json.read(document, Profile.class, "the profile");
      if (profile.defaultAction() == null) {
        throw refuse(file, "it has no defaultAction", null);
      }
      for (Rule rule : rules(profile)) {
        if (rule.allNames().isEmpty() || rule.action() == null) {
          throw refuse(file, "a rule in syscalls has no names or no action", null);
        }
      }
      return profile;
    } catch (NoSuchFileException e) {
      throw refuse(file, "no such file; put the profile there or name another", e);
    } catch (IOException | IllegalArgumentException e) {
      throw refuse(file, e.getMessage() + "; correct the file", e);
    }
  }

  private static ContainerException refuse(String file, String why, @Nullable Exception cause) {
    return new ContainerException(
        Reason.INVALID, "load seccomp profile \"" + file + "\": " + why, cause);
  }

  private Seccomp decide(Profile profile, Collection<String> capabilities) {
    List<Seccomp.Rule> rules = new ArrayList<>();
    for (Rule rule : rules(profile)) {
      if (holds(rule, capabilities)) {
        rules.add(
            new Seccomp.Rule(
                rule.allNames(), String.valueOf(rule.action()), rule.errnoRet(), rule.args()));
      }
    }
    return new Seccomp(
        String.valueOf(profile.defaultAction()),
        profile.defaultErrnoRet(),
        architectures(profile),
        profile.flags(),
        profile.listenerPath(),
        profile.listenerMetadata(),
        rules);
  }

  private static List<Rule> rules(Profile profile) {
    return profile.syscalls() == null ? List.of() : profile.syscalls();
  }

  /** The machine's own with those whose programs it also runs; absent: its own alone. */
  private @Nullable List<String> architectures(Profile profile) {
    if (profile.archMap() == null) {
      return profile.architectures();
    }
    for (Architecture entry : profile.archMap()) {
      if (entry.architecture().equals(machine.seccompName())) {
        List<String> all = new ArrayList<>();
        all.add(entry.architecture());
        if (entry.subArchitectures() != null) {
          all.addAll(entry.subArchitectures());
        }
        return all;
      }
    }
    return null;
  }

  /** All that is included must be there, nothing that is excluded may be. */
  private boolean holds(Rule rule, Collection<String> capabilities) {
    Condition in = rule.includes();
    Condition out = rule.excludes();
    boolean included =
        in == null
            || (capabilities.containsAll(orEmpty(in.caps()))
                && (orEmpty(in.arches()).isEmpty()
                    || orEmpty(in.arches()).contains(machine.architecture()))
                && (in.minKernel() == null || atLeast(machine.kernel(), in.minKernel())));
    boolean excluded =
        out != null
            && (orEmpty(out.caps()).stream().anyMatch(capabilities::contains)
                || orEmpty(out.arches()).contains(machine.architecture())
                || (out.minKernel() != null && atLeast(machine.kernel(), out.minKernel())));
    return included && !excluded;
  }

  private static List<String> orEmpty(@Nullable List<String> list) {
    return list == null ? List.of() : list;
  }

  /** Compares the first two numbers of versions such as {@code 6.1.0-18-amd64}. */
  private static boolean atLeast(String kernel, String minimum) {
    int[] have = version(kernel);
    int[] want = version(minimum);
    return have[0] != want[0] ? have[0] > want[0] : have[1] >= want[1];
  }

  private static int[] version(String text) {
    String[] parts = text.split("[^0-9]+");
    return new int[] {part(parts, 0), part(parts, 1)};
  }

  private static int part(String[] parts, int index) {
    return index < parts.length && !parts[index].isEmpty() ? Integer.parseInt(parts[index]) : 0;
  }
}
