package io.berth.linux;

import com.sun.jna.Memory;
import com.sun.jna.Native;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Mounts in the daemon's own mount namespace, mount(2) and the newer fsopen(2) family. */
public final class Mounts {
  private static final long MS_RDONLY = 1;
  private static final long MS_NOSUID = 2;
  private static final long MS_NODEV = 4;
  private static final long MS_NOEXEC = 8;
  private static final long MS_REMOUNT = 32;
  private static final long MS_BIND = 4096;
  private static final long MS_REC = 16384;
  private static final long MS_PRIVATE = 1 << 18;
  private static final long MS_SLAVE = 1 << 19;
  private static final int MNT_DETACH = 2;
  private static final int UMOUNT_NOFOLLOW = 8;
  private static final int FSCONFIG_SET_FLAG = 0;
  private static final int FSCONFIG_SET_STRING = 1;
  private static final int FSCONFIG_CMD_CREATE = 6;
  private static final int MOVE_MOUNT_F_EMPTY_PATH = 4;
  private static final int CLONE_FS = 0x200;
  private static final int CLONE_NEWNS = 0x20000;
  private static final int OPEN_TREE_CLONE = 1;
  private static final int AT_RECURSIVE = 0x8000;
  private static final long MOUNT_ATTR_RDONLY = 1;
  private static final long MOUNT_ATTR_IDMAP = 0x100000;
  private static final int MOUNT_ATTR_SIZE = 32;

  private Mounts() {}

  /** Binds one file or folder, without the mounts beneath it. */
  public static void bind(Path source, Path target) {
    mount(source.toString(), target, null, MS_BIND, null);
  }

  /** Binds with everything mounted beneath, cut off from the propagation of the source. */
  public static void bindRecursive(Path source, Path target) {
    mount(source.toString(), target, null, MS_BIND | MS_REC, null);
    mount(null, target, null, MS_PRIVATE | MS_REC, null);
  }

  public static void bindReadOnly(Path source, Path target) {
    bind(source, target);
    try {
      mount(null, target, null, MS_BIND | MS_REMOUNT | MS_RDONLY, null);
    } catch (ErrnoException e) {
      detach(target);
      throw e;
    }
  }

  /**
   * Binds with everything mounted beneath, all of it changed before anyone can see it. Nothing
   * mounted in it later gets to the source. Kernel 5.12, mount_setattr(2).
   *
   * @param receiving whether what is mounted beneath the source later appears here too, with
   *     neither of the changes
   * @param readOnly the mounts beneath too, which a read-only bind leaves writable
   * @param ids whose files shall belong to the users of that namespace; absent: as they are
   * @throws ErrnoException EINVAL when a file system can't map ids, ENOSYS from an older kernel
   */
  public static void bindChanged(
      Path source, Path target, boolean receiving, boolean readOnly, @Nullable UserNamespace ids) {
    String operation =
        "bind "
            + source
            + (readOnly ? " recursively read-only" : "")
            + (ids == null ? "" : " with mapped ids")
            + " on "
            + target;
    try (Fd tree = cloneTree(source, AT_RECURSIVE, operation)) {
      change(
          tree,
          AT_RECURSIVE,
          readOnly ? MOUNT_ATTR_RDONLY : 0,
          receiving ? MS_SLAVE : MS_PRIVATE,
          ids,
          operation);
      attach(tree, target, operation);
    }
  }

  /**
   * Whether the kernel has mount_setattr(2), and with it mounts that are read-only to the leaves.
   */
  public static boolean canChange() {
    // A size that no version has: EINVAL, or ENOSYS without the call.
    long result = Libc.syscall(Libc.SYS_MOUNT_SETATTR, -1, 0, 0, 0, 1);
    return result >= 0 || Native.getLastError() != Errno.ENOSYS;
  }

  private static Fd cloneTree(Path source, int flags, String operation) {
    try (Memory path = text(source.toString())) {
      return new Fd(
          (int)
              Libc.check(
                  Libc.syscall(
                      Libc.SYS_OPEN_TREE,
                      Libc.AT_FDCWD,
                      address(path),
                      OPEN_TREE_CLONE | Libc.O_CLOEXEC | flags,
                      0,
                      0),
                  operation));
    }
  }

  /** Struct mount_attr: what to set, what to clear, the propagation, the user namespace. */
  private static void change(
      Fd tree,
      int flags,
      long attributes,
      long propagation,
      @Nullable UserNamespace ids,
      String operation) {
    try (Fd namespace = ids == null ? null : Fd.openRead(ids.pin());
        Memory attr = new Memory(MOUNT_ATTR_SIZE);
        Memory empty = text("")) {
      attr.clear();
      attr.setLong(0, attributes | (namespace == null ? 0 : MOUNT_ATTR_IDMAP));
      attr.setLong(16, propagation);
      attr.setLong(24, namespace == null ? 0 : namespace.number());
      Libc.check(
          Libc.syscall(
              Libc.SYS_MOUNT_SETATTR,
              tree.number(),
              address(empty),
              Libc.AT_EMPTY_PATH | flags,
              address(attr),
              MOUNT_ATTR_SIZE),
          operation);
    }
  }

  private static void attach(Fd mount, Path target, String operation) {
    try (Memory empty = text("");
        Memory at = text(target.toString())) {
      Libc.check(
          Libc.syscall(
              Libc.SYS_MOVE_MOUNT,
              mount.number(),
              address(empty),
              Libc.AT_FDCWD,
              address(at),
              MOVE_MOUNT_F_EMPTY_PATH),
          operation);
    }
  }

  /**
   * A writable overlay whose layers belong to the users of a user namespace (kernel 5.19). What is
   * written goes to {@code upper} with the ids of the machine.
   *
   * @param lowers the layers, uppermost first; at least one
   * @param label as in {@link #overlay}
   */
  public static void overlayMapped(
      Path target,
      List<Path> lowers,
      Path upper,
      Path work,
      UserNamespace ids,
      @Nullable String label) {
    mapped(target, lowers, ids, (at, layers) -> overlay(at, layers, upper, work, label));
  }

  /** As {@link #overlayReadOnly} of two layers at least, with the ids of a user namespace. */
  public static void overlayMappedReadOnly(
      Path target, List<Path> lowers, UserNamespace ids, @Nullable String label) {
    mapped(target, lowers, ids, (at, layers) -> overlayReadOnly(at, layers, label));
  }

  private interface OverLayers {
    void mount(Path target, List<Path> layers);
  }

  /**
   * Overlayfs takes layers by their paths, so each has to be mounted, mapped, while the overlay is
   * made. A thread does that in a mount namespace of its own, which is gone with the thread, and
   * hands out the overlay: nothing is left behind even by a daemon that dies half way.
   */
  private static void mapped(
      Path target, List<Path> lowers, UserNamespace ids, OverLayers overlay) {
    String operation = "mount " + lowers.size() + " layers with mapped ids on " + target;
    Fd made =
        Namespaces.onOwnThread(
            "overlay",
            () -> {
              Libc.check(Libc.unshare(CLONE_NEWNS), "make a mount namespace");
              mount(null, Path.of("/"), null, MS_PRIVATE | MS_REC, null);
              mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, "mode=700");
              List<Path> layers = new ArrayList<>();
              for (Path lower : lowers) {
                Path layer =
                    Files.createDirectory(target.resolve(Integer.toString(layers.size(), 36)));
                try (Fd tree = cloneTree(lower, 0, operation)) {
                  change(tree, 0, 0, MS_PRIVATE, ids, operation);
                  attach(tree, layer, operation);
                }
                layers.add(layer);
              }
              Path root = Files.createDirectory(target.resolve("root"));
              overlay.mount(root, layers);
              return cloneTree(root, 0, operation);
            });
    try (made) {
      attach(made, target, operation);
    }
  }

  /**
   * A tmpfs, always nosuid and nodev.
   *
   * @param options as in {@code mode=1777,size=67108864}
   */
  public static void tmpfs(Path target, String options, boolean noexec) {
    mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV | (noexec ? MS_NOEXEC : 0), options);
  }

  /**
   * A writable overlay.
   *
   * @param lowers the layers, uppermost first; at least one
   * @param label the SELinux label that all files have, absent: each its own
   */
  public static void overlay(
      Path target, List<Path> lowers, Path upper, Path work, @Nullable String label) {
    overlayMount(target, lowers, upper, work, label);
  }

  /**
   * A read-only overlay; with one layer a read-only bind mount, as overlayfs wants two.
   *
   * @param label as in {@link #overlay}, of an overlay
   */
  public static void overlayReadOnly(Path target, List<Path> lowers, @Nullable String label) {
    if (lowers.size() == 1) {
      bindReadOnly(lowers.getFirst(), target);
    } else {
      overlayMount(target, lowers, null, null, label);
    }
  }

  /** Takes the uppermost mount off at once, even while it is used; not mounted is fine. */
  public static void detach(Path target) {
    if (Libc.umount2(Libc.path(target), MNT_DETACH | UMOUNT_NOFOLLOW) < 0) {
      int errno = Native.getLastError();
      if (errno != Errno.EINVAL && errno != Errno.ENOENT) {
        throw new ErrnoException("unmount " + target, errno);
      }
    }
  }

  public static boolean isMountPoint(Path target) {
    Path real;
    try {
      real = target.toRealPath();
    } catch (IOException e) {
      return false;
    }
    return table().stream().anyMatch(m -> m.target().equals(real));
  }

  /** The mount on which an existing path lies: the last one mounted at its longest prefix. */
  public static Optional<MountInfo> holding(Path path) {
    MountInfo best = null;
    for (MountInfo mount : table()) {
      if (path.startsWith(mount.target())
          && (best == null || mount.target().getNameCount() >= best.target().getNameCount())) {
        best = mount;
      }
    }
    return Optional.ofNullable(best);
  }

  /** All mounts that this process sees, in the order in which they were made. */
  public static List<MountInfo> table() {
    try {
      // Names are bytes; ISO 8859-1 would keep them, but paths are compared with Java's, which are
      // UTF-8.
      return MountInfo.parseTable(
          new String(Files.readAllBytes(Path.of("/proc/self/mountinfo")), StandardCharsets.UTF_8));
    } catch (IOException e) {
      throw new UncheckedIOException("read the mount table: " + e.getMessage(), e);
    }
  }

  private static void mount(
      @Nullable String source,
      Path target,
      @Nullable String type,
      long flags,
      @Nullable String data) {
    Libc.check(
        Libc.mount(
            source == null ? null : Libc.path(source),
            Libc.path(target),
            type == null ? null : Libc.path(type),
            flags,
            data == null ? null : Libc.path(data)),
        "mount " + (source == null ? "flags" : source) + " on " + target);
  }

  /**
   * EINVAL from {@link #overlayByContext} is what kernels before 6.7 say of {@code lowerdir+}: 6.5
   * and 6.6 when the key is set, older ones, where overlayfs takes any key unseen, only at the end.
   * It is also said of paths longer than the 255 bytes that fsconfig(2) takes. The other way knows
   * neither limit, and its error is the one that counts.
   */
  private static void overlayMount(
      Path target,
      List<Path> lowers,
      @Nullable Path upper,
      @Nullable Path work,
      @Nullable String label) {
    try {
      overlayByContext(target, lowers, upper, work, label);
    } catch (ErrnoException e) {
      if (!e.is(Errno.EINVAL)) {
        throw e;
      }
      overlayByMount(target, lowers, upper, work, label);
    }
  }

  /**
   * Layer by layer through fsconfig(2) {@code lowerdir+} (kernel 6.7, Linux commit 24e16e385f22):
   * mount(2) cuts its options off at one page, which is about forty layers. Nothing in the paths is
   * special here.
   */
  static void overlayByContext(
      Path target,
      List<Path> lowers,
      @Nullable Path upper,
      @Nullable Path work,
      @Nullable String label) {
    String operation = "mount overlay of " + lowers.size() + " layers on " + target;
    try (Fd context = fsOpen()) {
      for (Path lower : lowers) {
        fsConfig(context, FSCONFIG_SET_STRING, "lowerdir+", lower.toString(), operation);
      }
      if (upper != null && work != null) {
        fsConfig(context, FSCONFIG_SET_STRING, "upperdir", upper.toString(), operation);
        fsConfig(context, FSCONFIG_SET_STRING, "workdir", work.toString(), operation);
      } else {
        fsConfig(context, FSCONFIG_SET_FLAG, "ro", null, operation);
      }
      if (label != null) {
        fsConfig(context, FSCONFIG_SET_STRING, "context", label, operation);
      }
      fsConfig(context, FSCONFIG_CMD_CREATE, null, null, operation);
      try (Fd mount =
          new Fd(
              (int)
                  Libc.check(
                      Libc.syscall(
                          Libc.SYS_FSMOUNT, context.number(), 1 /* FSMOUNT_CLOEXEC */, 0, 0, 0),
                      operation))) {
        attach(mount, target, operation);
      }
    }
  }

  private static Fd fsOpen() {
    try (Memory type = text("overlay")) {
      return new Fd(
          (int)
              Libc.check(
                  Libc.syscall(Libc.SYS_FSOPEN, address(type), 1 /* FSOPEN_CLOEXEC */, 0, 0, 0),
                  "open file system type overlay"));
    }
  }

  private static void fsConfig(
      Fd context, int command, @Nullable String key, @Nullable String value, String operation) {
    try (Memory k = text(key == null ? "" : key);
        Memory v = text(value == null ? "" : value)) {
      Libc.check(
          Libc.syscall(
              Libc.SYS_FSCONFIG,
              context.number(),
              command,
              key == null ? 0 : address(k),
              value == null ? 0 : address(v),
              0),
          operation);
    }
  }

  /**
   * mount(2) with names of two or three letters: symbolic links in a folder that is the working
   * directory of one thread (CLONE_FS unshared, so of no other). Several hundred layers fit into
   * the page, and colons and commas of the paths don't show.
   */
  static void overlayByMount(
      Path target,
      List<Path> lowers,
      @Nullable Path upper,
      @Nullable Path work,
      @Nullable String label) {
    try {
      Path links = Files.createTempDirectory("berth-lower");
      List<Path> made = new ArrayList<>();
      try {
        StringBuilder options = new StringBuilder("lowerdir=");
        for (int i = 0; i < lowers.size(); i++) {
          String name = Integer.toString(i, 36);
          made.add(Files.createSymbolicLink(links.resolve(name), lowers.get(i)));
          options.append(i == 0 ? "" : ":").append(name);
        }
        if (upper != null && work != null) {
          Files.createSymbolicLink(links.resolve("upper"), upper);
          made.add(links.resolve("upper"));
          Files.createSymbolicLink(links.resolve("work"), work);
          made.add(links.resolve("work"));
          options.append(",upperdir=upper,workdir=work");
        }
        if (label != null) {
          options.append(",context=\"").append(label).append('"'); // categories hold commas
        }
        Namespaces.onOwnThread(
            "overlay",
            () -> {
              Libc.check(Libc.unshare(CLONE_FS), "unshare the working directory");
              Libc.check(Libc.chdir(Libc.path(links)), "change to " + links);
              mount(
                  "overlay", target, "overlay", upper == null ? MS_RDONLY : 0, options.toString());
              return null;
            });
      } finally {
        for (Path link : made) {
          Files.deleteIfExists(link);
        }
        Files.deleteIfExists(links);
      }
    } catch (IOException e) {
      throw new UncheckedIOException("mount overlay on " + target + ": " + e.getMessage(), e);
    }
  }

  private static Memory text(String value) {
    byte[] bytes = Libc.path(value);
    Memory memory = new Memory(bytes.length);
    memory.write(0, bytes, 0, bytes.length);
    return memory;
  }

  private static long address(Memory memory) {
    return com.sun.jna.Pointer.nativeValue(memory);
  }
}
