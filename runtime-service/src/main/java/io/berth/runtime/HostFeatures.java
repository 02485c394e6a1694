package io.berth.runtime;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What this machine and this daemon can give to a container.
 *
 * @param cgroupV2 the unified hierarchy alone; with the hybrid layout limits are set through v1
 * @param swapAccounting the memory controller limits swap
 * @param hugetlb the controller of huge pages is there
 * @param lowestOomScoreAdj the kernel lets nobody go below this who lacks CAP_SYS_RESOURCE,
 *     proc_pid_oom_score_adj(5)
 * @param capabilities those that the daemon has, {@code CAP_CHOWN} and so on: it can't give away
 *     others
 * @param apparmorProfiles the kernel's list of loaded profiles, absent where it has no AppArmor
 * @param selinux the kernel's file system for it, absent where it isn't enabled
 * @param recursiveReadOnly the kernel has mount_setattr(2), 5.12; see {@link RuntimeFeatures} for
 *     the OCI runtime's part
 */
public record HostFeatures(
    boolean cgroupV2,
    boolean swapAccounting,
    boolean hugetlb,
    int lowestOomScoreAdj,
    Set<String> capabilities,
    @Nullable Path apparmorProfiles,
    @Nullable Path selinux,
    boolean recursiveReadOnly) {
  private static final Path CGROUPS = Path.of("/sys/fs/cgroup");
  private static final Path APPARMOR_PROFILES = Path.of("/sys/kernel/security/apparmor/profiles");
  private static final Path SELINUX = Path.of("/sys/fs/selinux");

  public HostFeatures {
    capabilities = Collections.unmodifiableSet(new LinkedHashSet<>(capabilities));
  }

  /**
   * Looks at /proc and /sys.
   *
   * @param recursiveReadOnly kernel 5.12
   * @param lowestOomScoreAdj as tried out by the daemon
   */
  public static HostFeatures detect(boolean recursiveReadOnly, int lowestOomScoreAdj) {
    try {
      boolean v2 = Files.exists(CGROUPS.resolve("cgroup.controllers"));
      Set<String> capabilities = Capabilities.ofThisProcess();
      return new HostFeatures(
          v2,
          v2
              ? swapAccountingV2()
              : Files.exists(CGROUPS.resolve("memory/memory.memsw.limit_in_bytes")),
          v2
              ? Files.readString(CGROUPS.resolve("cgroup.controllers")).contains("hugetlb")
              : Files.exists(CGROUPS.resolve("hugetlb/cgroup.procs")), // and not a folder alone
          lowestOomScoreAdj,
          capabilities,
          Files.isReadable(APPARMOR_PROFILES) ? APPARMOR_PROFILES : null,
          Files.exists(SELINUX.resolve("enforce")) ? SELINUX : null,
          recursiveReadOnly);
    } catch (IOException e) {
      throw new UncheckedIOException("look at what this machine can do: " + e.getMessage(), e);
    }
  }

  /** The file is in every cgroup but the root, which has no limits. */
  private static boolean swapAccountingV2() throws IOException {
    try (var children = Files.list(CGROUPS)) {
      return children.anyMatch(child -> Files.exists(child.resolve("memory.swap.max")));
    }
  }
}
