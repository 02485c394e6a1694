package io.berth.sandbox;

import io.berth.linux.CgroupDriver;
import io.berth.linux.Cgroups;
import io.berth.linux.Systemd;
import io.berth.sandbox.SandboxException.Reason;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/// The cgroup of a pod, parent of its containers' cgroups. The kubelet makes it and sets its
/// limits; the OCI runtime makes what is missing. The kubelet always sends the path in cgroupfs
/// form, whichever driver it uses: with systemd the last element is a slice, and the elements
/// before it only repeat its parents.
///
/// @param parent CGROUPFS: absolute path from the root of the hierarchy; SYSTEMD: the name of a
///   slice
/// @param made the uppermost cgroup that didn't exist before the pod, to be removed with it, in the
///   same form; absent when none was missing. systemd makes the slices that a scope needs, and
///   keeps them
public record PodCgroup(CgroupDriver driver, String parent, @Nullable String made) {
  /// Of pods without a cgroup parent, so that each can be measured and killed as a whole.
  private static final String OWN_PREFIX = "berth-";

  private static final String SLICE = ".slice";

  /// The part before `.slice`: dashes separate the parents, so none may be empty. The root slice,
  /// `-`, is refused too: a pod must not be the machine's root.
  private static final Pattern SLICE_STEM =
      Pattern.compile("[A-Za-z0-9:_.\\\\]+(-[A-Za-z0-9:_.\\\\]+)*");

  private static final Pattern ELEMENT = Pattern.compile("[\\x21-\\x2e\\x30-\\x7e]+");

  /// @throws SandboxException INVALID if the parent doesn't have the driver's form
  static PodCgroup of(SandboxConfig config, SandboxId id, CgroupDriver driver, Cgroups cgroups) {
    List<String> elements =
        Arrays.stream(config.cgroupParent().split("/")).filter(e -> !e.isEmpty()).toList();
    for (String element : elements) {
      if (!ELEMENT.matcher(element).matches() || element.equals(".") || element.equals("..")) {
        throw refuse(
            config, "\"" + element + "\" can't be part of it; give the path from the root");
      }
    }
    return switch (driver) {
      case CGROUPFS -> inFileSystem(config, id, elements, cgroups);
      case SYSTEMD -> slice(config, id, elements, cgroups);
    };
  }

  private static PodCgroup inFileSystem(
      SandboxConfig config, SandboxId id, List<String> elements, Cgroups cgroups) {
    if (elements.isEmpty()) {
      String own = "/" + OWN_PREFIX + id;
      return new PodCgroup(CgroupDriver.CGROUPFS, own, own);
    }
    if (elements.getLast().endsWith(SLICE)) {
      throw refuse(
          config,
          "it names a slice, but berthd drives cgroups through the file system; set cgroup driver systemd"
              + " in berthd's configuration or cgroupDriver: cgroupfs in the kubelet's");
    }
    String missing = null;
    String path = "";
    for (String element : elements) {
      path += "/" + element;
      if (missing == null && !Files.exists(cgroups.folder("memory", path))) {
        missing = path;
      }
    }
    return new PodCgroup(CgroupDriver.CGROUPFS, path, missing);
  }

  private static PodCgroup slice(
      SandboxConfig config, SandboxId id, List<String> elements, Cgroups cgroups) {
    if (elements.isEmpty()) {
      String own = OWN_PREFIX + id + SLICE;
      return new PodCgroup(CgroupDriver.SYSTEMD, own, own);
    }
    String slice = elements.getLast();
    if (!slice.endsWith(SLICE)) {
      throw refuse(
          config,
          "it doesn't end in .slice, but berthd drives cgroups through systemd; set cgroup driver cgroupfs"
              + " in berthd's configuration or cgroupDriver: systemd in the kubelet's");
    }
    String stem = slice.substring(0, slice.length() - SLICE.length());
    if (!SLICE_STEM.matcher(stem).matches()) {
      throw refuse(
          config,
          "\""
              + slice
              + "\" is no name of a slice; between dashes there must be letters or digits");
    }
    String missing =
        lineage(slice)
            .filter(each -> !Files.exists(cgroups.folder("memory", path(each))))
            .findFirst()
            .orElse(null);
    return new PodCgroup(CgroupDriver.SYSTEMD, slice, missing);
  }

  /// A slice and those above it, from the top: the dashes in its name say which, systemd.slice(5).
  private static Stream<String> lineage(String slice) {
    String stem = slice.substring(0, slice.length() - SLICE.length());
    return Stream.concat(
        IntStream.range(0, stem.length())
            .filter(at -> stem.charAt(at) == '-')
            .mapToObj(dash -> stem.substring(0, dash) + SLICE),
        Stream.of(slice));
  }

  private static String path(String slice) {
    return lineage(slice).collect(Collectors.joining("/", "/", ""));
  }

  /// The pod's own cgroup, from the root of a hierarchy.
  public String path() {
    return driver == CgroupDriver.CGROUPFS ? parent : path(parent);
  }

  /// A container's cgroup, from the root of a hierarchy.
  public String containerCgroup(String containerId) {
    return driver == CgroupDriver.CGROUPFS
        ? containerPath(containerId)
        : path() + "/" + OWN_PREFIX + containerId + ".scope";
  }

  /// The `cgroupsPath` of a container for the OCI runtime, which takes another form for each
  /// driver.
  public String containerPath(String containerId) {
    return switch (driver) {
      case CGROUPFS -> (parent.equals("/") ? "" : parent) + "/" + containerId;
      case SYSTEMD -> parent + ":berth:" + containerId;
    };
  }

  /// Removes a cgroup that was made for a pod.
  ///
  /// @param made as in [#made]: a path begins with a slash, the name of a slice doesn't
  /// @throws IllegalStateException while processes are in it, be it those of another pod with the
  ///   same parent
  static void remove(String made, Cgroups cgroups) throws InterruptedException {
    boolean slice = !made.startsWith("/");
    // Asked first: removing works from below and would take empty cgroups from living containers.
    var processes = cgroups.processes(slice ? path(made) : made);
    if (!processes.isEmpty()) {
      throw new IllegalStateException("cgroup " + made + " still holds processes " + processes);
    }
    if (slice) {
      Systemd.stop(made);
    } else {
      cgroups.remove(made);
    }
  }

  private static SandboxException refuse(SandboxConfig config, String why) {
    return new SandboxException(
        Reason.INVALID,
        "run sandbox "
            + config.name()
            + ": cgroup parent \""
            + config.cgroupParent()
            + "\": "
            + why);
  }
}
