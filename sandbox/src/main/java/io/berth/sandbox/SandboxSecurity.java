package io.berth.sandbox;

import java.util.List;
import org.jspecify.annotations.Nullable;

/// The security context of a pod, kept as it was asked for. Nothing here is applied by this module:
/// there is no process in a sandbox to apply it to. Containers inherit from it.
///
/// @param runAsUser absent is not the same as 0
/// @param seccomp absent means unconfined
public record SandboxSecurity(
    boolean privileged,
    boolean readonlyRootfs,
    @Nullable Long runAsUser,
    @Nullable Long runAsGroup,
    List<Long> supplementalGroups,
    GroupsPolicy supplementalGroupsPolicy,
    @Nullable SelinuxOptions selinux,
    @Nullable SecurityProfile seccomp,
    @Nullable SecurityProfile apparmor) {
  public SandboxSecurity {
    supplementalGroups = Copies.of(supplementalGroups);
  }

  /// An ordinary pod: nothing special asked for.
  public static SandboxSecurity none() {
    return new SandboxSecurity(
        false, false, null, null, List.of(), GroupsPolicy.MERGE, null, null, null);
  }

  /// Whether the groups of the image's `/etc/group` are added.
  public enum GroupsPolicy {
    MERGE,
    STRICT
  }

  /// The four fields of an SELinux label; empty ones are left to the policy.
  public record SelinuxOptions(String user, String role, String type, String level) {}

  /// @param localhostRef the profile's path (seccomp) or name (AppArmor) when the kind is LOCALHOST
  public record SecurityProfile(Kind kind, String localhostRef) {
    /// Where a profile comes from.
    public enum Kind {
      RUNTIME_DEFAULT,
      UNCONFINED,
      LOCALHOST
    }
  }
}
