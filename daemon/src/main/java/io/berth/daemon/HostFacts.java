package io.berth.daemon;

import io.berth.daemon.DaemonConfig.CgroupDriverSetting;
import io.berth.linux.CgroupDriver;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/// What this machine is, as far as berthd must act on it. Looked up once at start.
///
/// @param lowestOomScoreAdj the lowest value this process may give itself and its children: −1000
///   with CAP_SYS_RESOURCE, without it whatever was set last by somebody who had it. runc fails
///   obscurely when it is asked for less, so values are clamped to this one.
record HostFacts(Version kernel, CgroupLayout cgroups, boolean systemd, int lowestOomScoreAdj) {

  /// cgroups(7): one tree, one tree a controller, or the latter with an idle v2 tree beside.
  enum CgroupLayout {
    V1,
    HYBRID,
    V2,
    NONE
  }

  static final int LOWEST_OOM_SCORE_ADJ = -1000;

  /// Looks around.
  ///
  /// @param root usually `/`
  static HostFacts detect(Path root) {
    return new HostFacts(
        read(root.resolve("proc/sys/kernel/osrelease"))
            .flatMap(Version::find)
            .orElseGet(() -> Version.of("0.0")),
        layout(root.resolve("sys/fs/cgroup")),
        // sd_booted(3): systemd is the init of this machine, not merely installed.
        Files.isDirectory(root.resolve("run/systemd/system")),
        lowestOomScoreAdj(root.resolve("proc/self/oom_score_adj")));
  }

  CgroupDriver cgroupDriver(CgroupDriverSetting setting) {
    return switch (setting) {
      case CGROUPFS -> CgroupDriver.CGROUPFS;
      case SYSTEMD -> CgroupDriver.SYSTEMD;
      case AUTO -> systemd ? CgroupDriver.SYSTEMD : CgroupDriver.CGROUPFS;
    };
  }

  private static CgroupLayout layout(Path mount) {
    if (Files.exists(mount.resolve("cgroup.controllers"))) {
      return CgroupLayout.V2;
    }
    if (Files.exists(mount.resolve("unified/cgroup.controllers"))) {
      return CgroupLayout.HYBRID;
    }
    return Files.isDirectory(mount.resolve("memory")) ? CgroupLayout.V1 : CgroupLayout.NONE;
  }

  /// Asks by trying: the limit itself (oom_score_adj_min) cannot be read, and a capability held in
  /// a user namespace does not count. The value in force is put back.
  static int lowestOomScoreAdj(Path file) {
    Optional<Integer> current = read(file).map(Integer::parseInt);
    if (current.isEmpty()) {
      return 0;
    }
    int refused = LOWEST_OOM_SCORE_ADJ - 1;
    int allowed = current.get();
    int tried = LOWEST_OOM_SCORE_ADJ;
    while (allowed - refused > 1) {
      if (write(file, tried)) {
        allowed = tried;
      } else {
        refused = tried;
      }
      tried = refused + (allowed - refused) / 2;
    }
    write(file, current.get());
    return allowed;
  }

  private static boolean write(Path file, int value) {
    try {
      Files.writeString(file, Integer.toString(value));
      return true;
    } catch (IOException refused) {
      return false;
    }
  }

  /// The file's text without surrounding white space; empty when it cannot be read.
  static Optional<String> read(Path file) {
    try {
      return Optional.of(Files.readString(file).strip());
    } catch (IOException absent) {
      return Optional.empty();
    }
  }
}
