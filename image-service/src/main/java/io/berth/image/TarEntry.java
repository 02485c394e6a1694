package io.berth.image;

import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * One member of a tar archive, with what extended headers say of it already applied.
 *
 * @param name as in the archive, not cleaned; bytes as {@link io.berth.linux.FileName} keeps them
 * @param size bytes of content in the archive
 * @param linkName target of a hard or symbolic link, else empty
 * @param mode permission bits
 * @param mtimeNanos nanoseconds within the second, never negative
 * @param xattrs from {@code SCHILY.xattr.*} records, values as they are
 * @param sparse where the content goes when the file has holes
 */
record TarEntry(
    String name,
    Type type,
    long size,
    String linkName,
    int mode,
    long uid,
    long gid,
    long mtimeSeconds,
    int mtimeNanos,
    long major,
    long minor,
    Map<String, byte[]> xattrs,
    @Nullable SparseMap sparse) {

  enum Type {
    FILE,
    HARD_LINK,
    SYMLINK,
    CHARACTER_DEVICE,
    BLOCK_DEVICE,
    FOLDER,
    FIFO
  }

  /**
   * The pieces of a file with holes, in ascending order.
   *
   * @param extents offset and length in turn
   * @param fileSize with the holes
   */
  @SuppressWarnings(
      "ArrayRecordComponent") // made by TarReader, read once by LayerUnpacker, never compared
  record SparseMap(long[] extents, long fileSize) {}
}
