package io.berth.sandbox;

import io.berth.linux.UserNamespace;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// Every path of a sandbox. What the kernel forgets at a boot lies under the state folder, the
/// records under the root folder.
///
/// ```
/// <stateDir>/sandboxes/<id>/ns/{net,ipc,uts,user}   pinned namespaces, those the pod has of its own
///                          /shm                tmpfs, unless IPC is the machine's
///                          /{hostname,resolv.conf,hosts}
/// <stateDir>/owed-netns/<id>                   network namespace whose CNI DEL is owed
/// <rootDir>/sandboxes/<id>.json
/// ```
public final class SandboxLayout {
  private static final Path MACHINE_SHM = Path.of("/dev/shm");

  private final Path sandboxes;
  private final Path owedNamespaces;
  private final Path records;
  private final Path recordCopies;

  /// @param stateDir gone at boot
  /// @param rootDir lasting
  public SandboxLayout(Path stateDir, Path rootDir) {
    this.sandboxes = stateDir.resolve("sandboxes");
    this.owedNamespaces = stateDir.resolve("owed-netns");
    this.records = rootDir.resolve("sandboxes");
    this.recordCopies = stateDir.resolve("copies").resolve("sandboxes");
  }

  /// What the containers of a sandbox use.
  ///
  /// @param network absent when it is the machine's; likewise `ipc` and `uts`
  /// @param shm what is mounted on `/dev/shm`
  /// @param user absent when its users are the machine's
  public record Paths(
      @Nullable Path network,
      @Nullable Path ipc,
      @Nullable Path uts,
      Path shm,
      Path hostname,
      Path resolvConf,
      Path hosts,
      @Nullable UserNamespace user) {}

  public Paths paths(Sandbox sandbox) {
    SandboxId id = sandbox.id();
    return new Paths(
        network(sandbox),
        sandbox.ownIpc() ? pins(id).resolve("ipc") : null,
        sandbox.ownNetwork() ? pins(id).resolve("uts") : null,
        sandbox.ownIpc() ? sharedMemory(id) : MACHINE_SHM,
        folder(id).resolve("hostname"),
        folder(id).resolve("resolv.conf"),
        folder(id).resolve("hosts"),
        userNamespace(sandbox));
  }

  /// Where its network namespace is pinned, absent when it is the machine's.
  public @Nullable Path network(Sandbox sandbox) {
    return sandbox.ownNetwork() ? networkNamespace(sandbox.id()) : null;
  }

  /// The pod's user namespace, absent when its users are the machine's.
  @Nullable UserNamespace userNamespace(Sandbox sandbox) {
    NamespaceModes.UserNamespace asked = sandbox.config().namespaces().user();
    if (asked == null || asked.mode() != NamespaceMode.POD) {
      return null;
    }
    return new UserNamespace(userPin(sandbox.id()), ranges(asked.uids()), ranges(asked.gids()));
  }

  private static List<UserNamespace.Range> ranges(List<NamespaceModes.IdMapping> mappings) {
    return mappings.stream()
        .map(m -> new UserNamespace.Range(m.containerId(), m.hostId(), m.length()))
        .toList();
  }

  Path userPin(SandboxId id) {
    return pins(id).resolve("user");
  }

  Path sandboxes() {
    return sandboxes;
  }

  Path records() {
    return records;
  }

  /// In memory, as nothing of a pod that would need it outlives the boot.
  Path recordCopies() {
    return recordCopies;
  }

  Path folder(SandboxId id) {
    return sandboxes.resolve(id.value());
  }

  Path pins(SandboxId id) {
    return folder(id).resolve("ns");
  }

  Path networkNamespace(SandboxId id) {
    return pins(id).resolve("net");
  }

  Path owedNamespaces() {
    return owedNamespaces;
  }

  /// Outlives the sandbox, whose folder goes when it is removed.
  Path owedNamespace(SandboxId id) {
    return owedNamespaces.resolve(id.value());
  }

  Path sharedMemory(SandboxId id) {
    return folder(id).resolve("shm");
  }
}
