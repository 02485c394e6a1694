package io.berth.snapshot;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * SHA-256 of files by inode, as they were written: what the commit would otherwise have to read
 * again. Takes 80 bytes a file and no more than 20 MiB; of what is beyond, the content is read.
 */
final class LayerDigests {
  static final int SIZE = 32;
  private static final int MOST = 1 << 18;

  /** Open addressing; 0 is no inode. Never more than two thirds full. */
  private long[] inodes = new long[256];

  private byte[] digests = new byte[256 * SIZE];
  private int count;

  void put(long inode, byte[] digest) {
    int slot = slot(inode);
    if (inodes[slot] == 0) {
      if (count == MOST) {
        return;
      }
      if (++count * 3 > inodes.length * 2) {
        grow();
        slot = slot(inode);
      }
      inodes[slot] = inode;
    }
    System.arraycopy(digest, 0, digests, slot * SIZE, SIZE);
  }

  /** What was known of an inode holds no more: it may have come to be another file. */
  void forget(long inode) {
    int slot = slot(inode);
    if (inodes[slot] != 0) {
      Arrays.fill(digests, slot * SIZE, (slot + 1) * SIZE, (byte) 0);
    }
  }

  byte @Nullable [] get(long inode) {
    int slot = slot(inode);
    if (inodes[slot] == 0 || !known(slot)) {
      return null;
    }
    return Arrays.copyOfRange(digests, slot * SIZE, (slot + 1) * SIZE);
  }

  /** A digest of zeros stands for none: it is the digest of nothing that anyone has found. */
  private boolean known(int slot) {
    for (int i = slot * SIZE; i < (slot + 1) * SIZE; i++) {
      if (digests[i] != 0) {
        return true;
      }
    }
    return false;
  }

  private int slot(long inode) {
    int mask = inodes.length - 1;
    int slot = Long.hashCode(inode * 0x9e3779b97f4a7c15L) & mask;
    while (inodes[slot] != 0 && inodes[slot] != inode) {
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  private void grow() {
    long[] oldInodes = inodes;
    byte[] oldDigests = digests;
    inodes = new long[oldInodes.length * 2];
    digests = new byte[inodes.length * SIZE];
    for (int i = 0; i < oldInodes.length; i++) {
      if (oldInodes[i] != 0) {
        int slot = slot(oldInodes[i]);
        inodes[slot] = oldInodes[i];
        System.arraycopy(oldDigests, i * SIZE, digests, slot * SIZE, SIZE);
      }
    }
  }
}
