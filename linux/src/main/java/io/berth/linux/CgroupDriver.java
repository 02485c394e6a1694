package io.berth.linux;

/** Who makes the cgroups of pods: the OCI runtime through the file system, or systemd. */
public enum CgroupDriver {
  CGROUPFS,
  SYSTEMD
}
