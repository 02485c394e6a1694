package io.berth.sandbox;

import io.berth.linux.CgroupDriver;
import io.berth.linux.Cgroups;
import io.berth.sandbox.SandboxException.Reason;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/// The cgroup of a pod, parent of its containers' cgroups. The kubelet makes it and sets its
/// limits; the OCI runtime makes what is missing. The kubelet always sends the path in cgroupfs
/// form, whichever driver it uses: with systemd the last element is a slice, and the elements
/// before it only repeat its parents.
///
/// @param parent CGROUPFS: absolute path from the root of the hierarchy; SYSTEMD: the name of a
///   slice
/// @param made the uppermost cgroup that didn't exist before the pod, to be removed with it; absent
///   when none was missing, and with systemd, which removes its own
public record PodCgroup(CgroupDriver driver, String parent, @Nullable String made) {
  /// Where pods without a cgroup parent go with systemd; as runc, whose default it is too.
  private static final String DEFAULT_SLICE = "system.slice";

  private static final String OWN_PREFIX = "/berth-";
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
      case SYSTEMD -> slice(config, elements);
    };
  }

  private static PodCgroup inFileSystem(
      SandboxConfig config, SandboxId id, List<String> elements, Cgroups cgroups) {
    if (elements.isEmpty()) {
      String own = OWN_PREFIX + id;
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

  private static PodCgroup slice(SandboxConfig config, List<String> elements) {
    if (elements.isEmpty()) {
      return new PodCgroup(CgroupDriver.SYSTEMD, DEFAULT_SLICE, null);
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
    return new PodCgroup(CgroupDriver.SYSTEMD, slice, null);
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
  /// @throws IllegalStateException while processes are in it, be it those of another pod with the
  ///   same parent
  static void remove(String cgroup, Cgroups cgroups) {
    // Asked first: removing works from below and would take empty cgroups from living containers.
    var processes = cgroups.processes(cgroup);
    if (!processes.isEmpty()) {
      throw new IllegalStateException("cgroup " + cgroup + " still holds processes " + processes);
    }
    cgroups.remove(cgroup);
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
