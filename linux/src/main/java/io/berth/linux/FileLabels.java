package io.berth.linux;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;

/**
 * SELinux labels of files, which the kernel keeps in the extended attribute {@code
 * security.selinux}. File systems that have none, and links, which are never followed, are passed
 * over in silence: SELinux labels such a file system as a whole.
 */
public final class FileLabels {
  private static final String ATTRIBUTE = "security.selinux";

  /** One descriptor each; what a container nests deeper keeps its label. */
  private static final int DEPTH = 512;

  private FileLabels() {}

  /**
   * Labels one file or folder.
   *
   * @param label {@code user:role:type:level}
   * @throws ErrnoException EINVAL for a label that the policy doesn't know, EROFS and so on
   */
  public static void set(Path file, String label) {
    apply(file, label, false);
  }

  /** As {@link #set}, with all that is in a folder. */
  public static void setAll(Path tree, String label) {
    apply(tree, label, true);
  }

  /** Whether a file or folder has this label. */
  public static boolean is(Path file, String label) {
    try (RootedTree tree = RootedTree.open(parent(file))) {
      String name = String.valueOf(file.getFileName());
      return tree.getXattr(tree.root(), name, ATTRIBUTE)
          .map(old -> Arrays.equals(old, value(label)))
          .orElse(false);
    }
  }

  private static void apply(Path path, String label, boolean all) {
    byte[] value = value(label);
    try (RootedTree tree = RootedTree.open(parent(path))) {
      String name = String.valueOf(path.getFileName());
      try {
        label(tree, tree.root(), name, value);
      } catch (ErrnoException e) {
        if (e.is(Errno.EOPNOTSUPP)) {
          return;
        }
        throw e;
      }
      if (all && tree.stat(tree.root(), name).isDirectory()) {
        try (Fd top = tree.openChild(tree.root(), name)) {
          labelContent(tree, top, value, 0);
        }
      }
    }
  }

  private static Path parent(Path path) {
    Path folder = path.toAbsolutePath().getParent();
    if (folder == null) {
      throw new IllegalArgumentException("not to be labelled: " + path);
    }
    return folder;
  }

  /** With its NUL, as libselinux writes it. */
  private static byte[] value(String label) {
    return (label + '\0').getBytes(StandardCharsets.UTF_8);
  }

  private static void labelContent(RootedTree tree, Fd folder, byte[] value, int depth) {
    for (RootedTree.Entry entry : tree.list(folder)) {
      try {
        label(tree, folder, entry.name(), value);
        if (entry.mayBeFolder() && depth < DEPTH) {
          try (Fd child = tree.openChild(folder, entry.name())) {
            labelContent(tree, child, value, depth + 1);
          }
        }
      } catch (ErrnoException e) {
        // Gone or replaced meanwhile, no folder after all, or a file system within it without
        // labels.
        if (!e.is(Errno.ENOENT)
            && !e.is(Errno.ENOTDIR)
            && !e.is(Errno.ELOOP)
            && !e.is(Errno.EOPNOTSUPP)) {
          throw e;
        }
      }
    }
  }

  /** Not written where it is right already: writing would change each file's time of change. */
  private static void label(RootedTree tree, Fd folder, String name, byte[] value) {
    Optional<byte[]> old = tree.getXattr(folder, name, ATTRIBUTE);
    if (old.isEmpty() || !Arrays.equals(old.get(), value)) {
      tree.setXattr(folder, name, ATTRIBUTE, value);
    }
  }
}
