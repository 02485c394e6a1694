package io.berth.runtime;

import io.berth.linux.Errno;
import io.berth.linux.ErrnoException;
import io.berth.linux.Fd;
import io.berth.linux.FileLabels;
import io.berth.linux.Mounts;
import io.berth.linux.Namespaces;
import io.berth.linux.PrivateFolder;
import io.berth.linux.RootedTree;
import io.berth.linux.Subprocess;
import io.berth.linux.UserNamespace;
import io.berth.linux.UserNamespace.Range;
import io.berth.runtime.ContainerConfig.Propagation;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.NamespaceModes.IdMapping;
import io.berth.sandbox.Sandbox;
import io.berth.snapshot.Snapshotter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The volumes of one container that is being made. What has to be mounted for it alone is mounted
 * in the bundle's folder {@code mounts}, which {@link ContainerTeardown} empties; folders of its
 * own lie beside its writable layer and go with it.
 */
final class ContainerVolumes implements VolumeSources {
  private static final Path COPY = Path.of("/bin/cp");

  private final ContainerLayout layout;
  private final ContainerId id;
  private final String name;
  private final Sandbox sandbox;
  private final @Nullable UserNamespace users;
  private final ImageVolumes images;
  private final Snapshotter snapshotter;
  private final Selinux.Labels labels;
  private final Map<String, String> imageIds = new LinkedHashMap<>();
  private int staged;
  private int declared;

  /**
   * The volumes of a container whose root is mounted.
   *
   * @param users the pod's own, absent when they are the machine's
   */
  ContainerVolumes(
      ContainerLayout layout,
      Container container,
      Sandbox sandbox,
      @Nullable UserNamespace users,
      ImageVolumes images,
      Snapshotter snapshotter,
      Selinux.Labels labels) {
    this.layout = layout;
    this.id = container.id();
    this.name = container.config().name();
    this.sandbox = sandbox;
    this.users = users;
    this.images = images;
    this.snapshotter = snapshotter;
    this.labels = labels;
  }

  @Override
  public Path image(ContainerConfig.Mount mount) {
    ImageVolumes.Found found = images.find(sandbox, name, mount, users, labels.shared());
    imageIds.put(mount.image(), found.image().toString());
    return found.folder();
  }

  /** The ids of the images that were mounted, by the names that the request gives them. */
  Map<String, String> imageIds() {
    return imageIds;
  }

  @Override
  public Path withMappedIds(Path source, ContainerConfig.Mount mount) throws InterruptedException {
    List<Range> uids = ranges(mount.uidMappings());
    List<Range> gids = ranges(mount.gidMappings());
    if (users != null && users.uids().equals(uids) && users.gids().equals(gids)) {
      return mapped(source, mount, users);
    }
    // Ids that aren't the pod's: a namespace that only lends its map.
    Path folder = PrivateFolder.make(layout.mounts(id));
    UserNamespace lent = new UserNamespace(folder.resolve("user"), uids, gids);
    Namespaces.createOwned(Set.of(), lent, folder, () -> {});
    try {
      return mapped(source, mount, lent);
    } finally {
      Namespaces.unpin(lent.pin());
    }
  }

  private Path mapped(Path source, ContainerConfig.Mount mount, UserNamespace ids) {
    try {
      Path target = stage(source);
      Mounts.bindChanged(
          source, target, mount.propagation() == Propagation.HOST_TO_CONTAINER, false, ids);
      return target;
    } catch (ErrnoException e) {
      if (e.is(Errno.EINVAL) || e.is(Errno.EPERM)) { // EPERM: they are mapped already
        throw new ContainerException(
            Reason.UNSUPPORTED,
            refusal()
                + "the file system of "
                + source
                + " can't show its files under mapped ids; use another one or set hostUsers: true",
            e);
      }
      throw e;
    }
  }

  @Override
  public Path readOnly(Path source) {
    Path target = stage(source);
    Mounts.bindChanged(source, target, false, true, null);
    return target;
  }

  /** A mount point of the same kind as the source. */
  private Path stage(Path source) {
    Path target = PrivateFolder.make(layout.mounts(id)).resolve(Integer.toString(staged++));
    try {
      return Files.isDirectory(source) ? Files.createDirectory(target) : Files.createFile(target);
    } catch (IOException e) {
      throw new UncheckedIOException("make mount point " + target + ": " + e.getMessage(), e);
    }
  }

  @Override
  public void relabel(Path source) {
    labels.share(source, why -> new ContainerException(Reason.INVALID, refusal() + why));
  }

  @Override
  public void relabelOne(Path source) {
    if (labels.shared() != null) {
      FileLabels.set(source, labels.shared());
    }
  }

  @Override
  public Path declared(String path) throws InterruptedException {
    Path volume = snapshotter.volume(id.value(), Integer.toString(declared++));
    try (RootedTree root = RootedTree.open(layout.rootfs(id));
        Fd folder = root.openDirectory(path.substring(1))) {
      // The kernel resolved every link within the root, in which nobody else is at work yet.
      copy(Files.readSymbolicLink(folder.procPath()), volume);
    } catch (ErrnoException e) {
      if (e.is(Errno.ENOENT)) {
        giveToRoot(volume);
      } else {
        throw new ContainerException(
            Reason.INVALID,
            refusal()
                + "its image declares a volume at "
                + path
                + ", where it has something else than a folder; mount another volume there",
            e);
      }
    } catch (IOException e) {
      throw new UncheckedIOException("fill the volume at " + path + ": " + e.getMessage(), e);
    }
    if (labels.files() != null) {
      FileLabels.setAll(volume, labels.files());
    }
    return volume;
  }

  /** With owners, modes, times and attributes; links as links. */
  private static void copy(Path from, Path volume) throws InterruptedException {
    Subprocess.Result copied =
        Subprocess.command(COPY.toString(), "-a", "--", from + "/.", volume.toString()).run();
    if (!copied.ok()) {
      throw new UncheckedIOException(
          new IOException("copy " + from + " into a volume: " + copied.err().strip()));
    }
  }

  private void giveToRoot(Path volume) {
    if (users == null) {
      return;
    }
    try {
      Files.setAttribute(volume, "unix:uid", users.uid(0));
      Files.setAttribute(volume, "unix:gid", users.gid(0));
    } catch (IOException e) {
      throw new UncheckedIOException("set the owner of " + volume + ": " + e.getMessage(), e);
    }
  }

  private String refusal() {
    return "create container " + id + " (" + name + "): ";
  }

  private static List<Range> ranges(List<IdMapping> mappings) {
    return mappings.stream().map(m -> new Range(m.containerId(), m.hostId(), m.length())).toList();
  }
}
