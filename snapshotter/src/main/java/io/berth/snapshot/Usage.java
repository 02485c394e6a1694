package io.berth.snapshot;

/**
 * Room taken on disk.
 *
 * @param bytes allocated, in bytes: what du(1) counts, so holes are free
 * @param inodes files, folders, links and special files; names linked to one inode count once
 */
public record Usage(long bytes, long inodes) {
  public static final Usage NONE = new Usage(0, 0);

  public Usage plus(Usage other) {
    return new Usage(bytes + other.bytes, inodes + other.inodes);
  }
}
