package io.berth.daemon;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;

/// Published faults of the programs that Berth runs, by version: facts to be extended with each
/// release, nothing that is guessed.
final class KnownFaults {
  /// One fault.
  ///
  /// @param fixedIn the advice: what to install
  record Fault(String what, String fixedIn) {}

  // Debian 12 patches runc 1.1.5 without a new upstream number; `runc --version` prints the
  // package's
  // version on its commit line. Its change log ends with CVE-2024-21626.
  private static final Pattern DEBIAN_12_RUNC = Pattern.compile("1\\.1\\.5\\+ds1-1\\+deb12u\\d+");

  private KnownFaults() {}

  /// Those of runc.
  ///
  /// @param versionOutput all that `runc --version` prints
  static List<Fault> ofRunc(Version runc, String versionOutput) {
    var faults = new ArrayList<Fault>();
    if (runc.before("1.1.12") && !DEBIAN_12_RUNC.matcher(versionOutput).find()) {
      faults.add(
          new Fault(
              "CVE-2024-21626 (a leaked descriptor lets a container into the host's files)",
              "runc 1.1.12"));
    }
    if (lacksFix(runc, "1.2.8", "1.3.3", "1.4.0-rc.3")) {
      faults.add(
          new Fault(
              "CVE-2025-31133, CVE-2025-52565 and CVE-2025-52881 (races on /dev/null, the console"
                  + " and procfs let a container write to the host's /proc)",
              "runc 1.2.8, 1.3.3 or 1.4.0"));
    }
    if (lacksFix(runc, "1.3.6", "1.4.3", "1.5.0-rc.3")) {
      faults.add(
          new Fault(
              "CVE-2026-41579 (low: an image whose /dev is a link makes runc create links on the"
                  + " host)",
              "runc 1.3.6, 1.4.3 or 1.5.0"));
    }
    return faults;
  }

  /// Those of crun. CVE-2026-88264 and CVE-2026-88265 need a container without a /dev mount of its
  /// own, which Berth never makes.
  static List<Fault> ofCrun(Version crun) {
    var faults = new ArrayList<Fault>();
    if (crun.before("1.20")) {
      faults.add(new Fault("CVE-2025-24965 (in its krun handler only)", "crun 1.20"));
    }
    if (crun.atLeast("1.19") && crun.before("1.27")) {
      faults.add(new Fault("CVE-2026-30892 (exec as user 1 runs as root)", "crun 1.27"));
    }
    if (crun.before("1.28")) {
      faults.add(new Fault("CVE-2026-47766 (an image whose /dev is a link)", "crun 1.28"));
    }
    return faults;
  }

  /// Those of conmon that Berth cannot work around.
  static List<Fault> ofConmon(Version conmon) {
    var faults = new ArrayList<Fault>();
    if (conmon.before("2.1.9")) {
      faults.add(new Fault("a buffer overrun in writing logs", "conmon 2.1.9"));
    }
    if (conmon.before("2.2.0")) {
      faults.add(
          new Fault(
              "logs corrupted in rotation, and out-of-memory kills missed on cgroup v2",
              "conmon 2.2.0"));
    }
    return faults;
  }

  /// Those of the portmap plugin.
  static List<Fault> ofPortmap(Version plugins, boolean nftablesBackend) {
    return nftablesBackend && plugins.before("1.9.0")
        ? List.of(
            new Fault(
                "CVE-2025-67499 (with its nftables backend, portmap redirects traffic that is meant"
                    + " for other addresses)",
                "CNI plugins 1.9.0, or the iptables backend"))
        : List.of();
  }

  /// A fix was released for several series: a version has it if it is as new as its own series'
  /// fix, or of a series after the last.
  private static boolean lacksFix(Version version, String... fixes) {
    return Arrays.stream(fixes)
        .map(Version::of)
        .filter(version::sameSeries)
        .findFirst()
        .map(fix -> version.compareTo(fix) < 0)
        .orElseGet(() -> version.before(fixes[fixes.length - 1]));
  }
}
