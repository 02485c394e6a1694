package io.berth.image;

/**
 * What one layer may contain at most. An image is a stranger's: without limits a few kilobytes of
 * it could use up the memory, the inodes or the disk.
 *
 * @param entries members of the archive
 * @param pathBytes of a name or link, and of a path that links lead to; the kernel's own limit is
 *     4095
 * @param headerBytes of one extended header: names and attributes together
 * @param contentBytes of all files, holes left out
 */
public record UnpackLimits(long entries, int pathBytes, int headerBytes, long contentBytes) {
  public static final UnpackLimits DEFAULT = new UnpackLimits(4_000_000, 4095, 1 << 20, 1L << 40);
}
