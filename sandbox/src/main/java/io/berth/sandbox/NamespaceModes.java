package io.berth.sandbox;

import java.util.List;
import org.jspecify.annotations.Nullable;

/// The namespace options of a pod or container. CRI's answers must repeat them unchanged: the
/// kubelet makes a pod anew when its network mode seems to differ.
///
/// @param user absent means the user namespace of the machine
/// @param targetId the container whose PID namespace is meant when `pid` is TARGET, else empty
public record NamespaceModes(
    NamespaceMode network,
    NamespaceMode pid,
    NamespaceMode ipc,
    @Nullable UserNamespace user,
    String targetId) {

  /// @param uids one mapping exactly when the mode is POD, none when it is NODE
  /// @param gids likewise
  public record UserNamespace(NamespaceMode mode, List<IdMapping> uids, List<IdMapping> gids) {
    public UserNamespace {
      uids = Copies.of(uids);
      gids = Copies.of(gids);
    }
  }

  /// Whether the containers have users of their own, apart from the machine's.
  public boolean ownUser() {
    return user != null && user.mode() == NamespaceMode.POD;
  }

  /// A range of `length` ids, seen from `containerId` on inside and from `hostId` on outside.
  public record IdMapping(long containerId, long hostId, long length) {}

  /// What the kubelet asks for an ordinary pod.
  public static NamespaceModes ordinary() {
    return new NamespaceModes(
        NamespaceMode.POD, NamespaceMode.CONTAINER, NamespaceMode.POD, null, "");
  }
}
