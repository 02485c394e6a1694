package io.berth.stats;

import io.berth.linux.KernelFolder;
import java.util.Arrays;

/**
 * One cgroup as it is read: a folder in each hierarchy, whose files stay open from one look to the
 * next (decision 15). For one thread at a time.
 */
final class OpenCgroup implements AutoCloseable {
  private static final KernelFolder.Room NONE = new KernelFolder.Room(0);

  private final byte[] path;
  private final KernelFolder.Room room;
  private byte[][] hierarchies = new byte[0][];
  private KernelFolder[] folders = new KernelFolder[0];
  private boolean closed;

  /**
   * @param path from the root of a hierarchy, see {@link CgroupStats#path}
   */
  OpenCgroup(byte[] path, KernelFolder.Room room) {
    this.path = path;
    this.room = room;
  }

  /** For a single look: no file stays open. */
  static OpenCgroup once(byte[] path) {
    return new OpenCgroup(path, NONE);
  }

  /**
   * Its folder in a hierarchy.
   *
   * @param hierarchy one of the few constants of the reader
   */
  KernelFolder in(byte[] hierarchy) {
    for (int i = 0; i < hierarchies.length; i++) {
      if (Arrays.equals(hierarchies[i], hierarchy)) {
        return folders[i];
      }
    }
    var folder = new KernelFolder(CgroupReader.folder(hierarchy, path), closed ? NONE : room);
    hierarchies = Arrays.copyOf(hierarchies, hierarchies.length + 1);
    folders = Arrays.copyOf(folders, hierarchies.length);
    hierarchies[hierarchies.length - 1] = hierarchy;
    folders[hierarchies.length - 1] = folder;
    return folder;
  }

  /** From now on no file is kept open. */
  @Override
  public void close() {
    closed = true;
    for (KernelFolder folder : folders) {
      folder.close();
    }
  }
}
