package io.berth.runtime;

import io.berth.image.Image;
import io.berth.image.ImageStore;
import io.berth.image.ImageTrust;
import io.berth.linux.AtomicFile;
import io.berth.linux.Debt;
import io.berth.linux.Debts;
import io.berth.linux.Errno;
import io.berth.linux.ErrnoException;
import io.berth.linux.Fd;
import io.berth.linux.FileTree;
import io.berth.linux.PrivateFolder;
import io.berth.linux.RootedTree;
import io.berth.linux.UserNamespace;
import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import io.berth.oci.Json;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxId;
import io.berth.sandbox.SandboxState;
import io.berth.sandbox.SandboxStore;
import io.berth.snapshot.SnapshotException;
import io.berth.snapshot.Snapshotter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Images that pods use as volumes: each is mounted once in a pod, for all of its containers, from
 * the first that asks to the pod's end. The mounts and the record of what they hold lie in the
 * state folder and are void together at a boot.
 */
final class ImageVolumes {
  /** Of all volumes of a pod that couldn't be unmounted. */
  static final String DEBT = "image-volumes";

  private static final Logger log = LoggerFactory.getLogger(ImageVolumes.class);
  private static final String TOKEN = "ImageVolumeMountFailed: ";
  private static final String RECORD = "volume.json";
  private static final int STRIPES = 16;

  private final ContainerLayout layout;
  private final ImageStore images;
  private final ImageTrust trust;
  private final Snapshotter snapshotter;
  private final SandboxStore sandboxes;
  private final Debts debts;

  /** One for the making and unmounting of a pod's volumes at a time. */
  private final List<ReentrantLock> locks =
      IntStream.range(0, STRIPES).mapToObj(_ -> new ReentrantLock()).toList();

  /** What keeps the layers while the volume is mounted, also when the image is removed. */
  private record Volume(String image, List<ChainId> layers) {}

  /** The folder to be mounted, and the image that the request's name meant. */
  record Found(Path folder, Digest image) {}

  ImageVolumes(
      ContainerLayout layout,
      ImageStore images,
      ImageTrust trust,
      Snapshotter snapshotter,
      SandboxStore sandboxes,
      Debts debts) {
    this.layout = layout;
    this.images = images;
    this.trust = trust;
    this.snapshotter = snapshotter;
    this.sandboxes = sandboxes;
    this.debts = debts;
  }

  /**
   * The folder of an image that a container shall see.
   *
   * @param users the pod's own, to which the files shall belong
   * @param label the SELinux label of the files, absent: none
   * @throws ContainerException INVALID, NO_IMAGE, WRONG_STATE or RUNTIME_FAILED
   * @throws io.berth.image.ImageException SIGNATURE, CONFIGURATION by the trust policy
   */
  Found find(
      Sandbox sandbox,
      String container,
      ContainerConfig.Mount mount,
      @Nullable UserNamespace users,
      @Nullable String label) {
    String operation = TOKEN + "mount image " + mount.image() + " for container " + container;
    if (!mount.hostPath().isEmpty()) {
      throw refuse(Reason.INVALID, operation, "it has a host path too; give one of both", null);
    }
    if (!mount.readonly()) {
      throw refuse(Reason.INVALID, operation, "image volumes can only be read; set readonly", null);
    }
    Image image =
        images
            .find(mount.image())
            .orElseThrow(() ->
                refuse(
                    Reason.NO_IMAGE, operation, "it isn't on this machine; pull it first", null));
    trust.requireAtCreate(image, List.of(mount.image()), sandbox.config().name().namespace());
    Path root;
    try {
      root = mounted(sandbox, operation, image, users, label);
    } catch (SnapshotException | ErrnoException | UncheckedIOException e) {
      throw refuse(Reason.RUNTIME_FAILED, operation, String.valueOf(e.getMessage()), e);
    }
    return new Found(inside(root, mount.imageSubPath(), operation), image.id());
  }

  private Path mounted(
      Sandbox sandbox,
      String operation,
      Image image,
      @Nullable UserNamespace users,
      @Nullable String label) {
    SandboxId pod = sandbox.id();
    Path volume = layout.imageVolume(pod, image.id().hex());
    Path root = volume.resolve("root");
    ReentrantLock lock = lock(pod);
    lock.lock();
    try {
      // Looked at within the lock: release() comes after the pod was closed, and finds what was
      // mounted before.
      if (sandboxes.get(pod.value()).state() != SandboxState.READY) {
        throw refuse(Reason.WRONG_STATE, operation, "its pod is ending; run a new one", null);
      }
      if (Files.exists(volume.resolve(RECORD))) {
        return root;
      }
      boolean done = false;
      try {
        snapshotter.hold(owner(pod, image.id().hex()), image.layers());
        Path _ = PrivateFolder.make(root);
        snapshotter.mountReadOnly(image.layers(), root, users, label);
        // Last, as it says that all is there.
        AtomicFile.write(
            volume.resolve(RECORD), Json.write(new Volume(image.id().toString(), image.layers())));
        done = true;
        return root;
      } finally {
        if (!done) {
          unmount(pod, volume);
        }
      }
    } finally {
      lock.unlock();
    }
  }

  /**
   * A path in the image leads nowhere else, whatever links lie on it; read-only, so it stays so.
   */
  private static Path inside(Path root, String subPath, String operation) {
    String relative = subPath.replaceFirst("^/+", "");
    try (RootedTree tree = RootedTree.open(root);
        Fd folder = tree.openDirectory(relative)) {
      return Files.readSymbolicLink(folder.procPath());
    } catch (ErrnoException e) {
      throw refuse(
          Reason.INVALID,
          operation,
          "its sub-path \""
              + subPath
              + (e.is(Errno.ENOENT)
                  ? "\" doesn't exist in the image"
                  : e.is(Errno.ENOTDIR) ? "\" isn't a folder" : "\": " + e.getMessage()),
          e);
    } catch (IOException e) {
      throw refuse(Reason.RUNTIME_FAILED, operation, e.toString(), e);
    }
  }

  /** At the end of a pod, when it takes no more containers and none runs. */
  void release(SandboxId pod) {
    ReentrantLock lock = lock(pod);
    lock.lock();
    try {
      for (Path volume : entries(layout.imageVolumes(pod))) {
        unmount(pod, volume);
      }
      Files.deleteIfExists(layout.imageVolumes(pod));
    } catch (IOException | ErrnoException | UncheckedIOException e) {
      log.warn("image volumes of sandbox {} could not be unmounted yet: {}", pod, e.toString());
      debts.owe(new Debt(DEBT, pod.value()), e);
    } finally {
      lock.unlock();
    }
  }

  /** Settles a debt. */
  void settle(Debt debt) throws IOException {
    SandboxId pod = new SandboxId(debt.subject());
    for (Path volume : entries(layout.imageVolumes(pod))) {
      unmount(pod, volume);
    }
    Files.deleteIfExists(layout.imageVolumes(pod));
  }

  private void unmount(SandboxId pod, Path volume) {
    snapshotter.unmount(volume.resolve("root"));
    FileTree.delete(volume);
    snapshotter.release(owner(pod, volume.getFileName().toString()));
  }

  /**
   * Holds anew what is mounted, and unmounts what a pod has left that ended meanwhile. Before
   * layers that nobody holds are removed.
   */
  void recover() {
    try {
      for (Path folder : entries(layout.imageVolumes())) {
        SandboxId pod = new SandboxId(folder.getFileName().toString());
        boolean ready =
            sandboxes.find(pod.value()).filter(s -> s.state() == SandboxState.READY).isPresent();
        if (!ready) {
          release(pod);
          continue;
        }
        for (Path volume : entries(folder)) {
          keepOrUnmount(pod, volume);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException("read " + layout.imageVolumes() + ": " + e.getMessage(), e);
    }
  }

  private void keepOrUnmount(SandboxId pod, Path volume) throws IOException {
    Path record = volume.resolve(RECORD);
    if (Files.exists(record)) {
      String image = volume.getFileName().toString();
      snapshotter.hold(owner(pod, image), layers(record, image));
    } else { // half made; its container is undone too
      unmount(pod, volume);
    }
  }

  /** Of a volume whose record is damaged: those of its image, if that is still here. */
  private List<ChainId> layers(Path record, String image) throws IOException {
    try {
      return Json.read(Files.readAllBytes(record), Volume.class, "record of a volume").layers();
    } catch (IllegalArgumentException e) {
      log.error("record {} can't be read: {}", record, e.getMessage());
      return images.find(image).map(Image::layers).orElse(List.of());
    }
  }

  private static List<Path> entries(Path folder) throws IOException {
    List<Path> found = new ArrayList<>();
    try (DirectoryStream<Path> stream = Files.newDirectoryStream(folder)) {
      stream.forEach(found::add);
    } catch (NoSuchFileException _) {
      // nothing was ever mounted
    }
    return found;
  }

  private ReentrantLock lock(SandboxId pod) {
    return locks.get(Math.floorMod(pod.hashCode(), STRIPES));
  }

  private static String owner(SandboxId pod, String image) {
    return "volume:" + pod + ":" + image;
  }

  private static ContainerException refuse(
      Reason reason, String operation, String why, @Nullable Throwable cause) {
    return new ContainerException(reason, operation + ": " + why, cause);
  }
}
