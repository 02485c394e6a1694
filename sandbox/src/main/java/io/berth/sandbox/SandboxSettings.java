package io.berth.sandbox;

import io.berth.linux.CgroupDriver;
import java.nio.file.Path;
import java.time.Duration;

/// What the sandbox module has to be told.
///
/// @param stateDir gone at boot, as `/run/berth`
/// @param rootDir lasting, as `/var/lib/berth`
/// @param linger how long the making of a pod goes on when nobody waits for it any more
/// @param resolvConf copied into pods that ask for no resolver of their own
/// @param hosts copied into pods
/// @param bootId holds an id that changes with every boot of the machine, random(4)
public record SandboxSettings(
    Path stateDir,
    Path rootDir,
    CgroupDriver cgroupDriver,
    Duration linger,
    Path resolvConf,
    Path hosts,
    Path bootId) {

  /// The files of this machine.
  public static SandboxSettings of(
      Path stateDir, Path rootDir, CgroupDriver cgroupDriver, Duration linger) {
    return new SandboxSettings(
        stateDir,
        rootDir,
        cgroupDriver,
        linger,
        Path.of("/etc/resolv.conf"),
        Path.of("/etc/hosts"),
        Path.of("/proc/sys/kernel/random/boot_id"));
  }

  SandboxLayout layout() {
    return new SandboxLayout(stateDir, rootDir);
  }
}
