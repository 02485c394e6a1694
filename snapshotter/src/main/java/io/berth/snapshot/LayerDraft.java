package io.berth.snapshot;

import io.berth.oci.ChainId;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * A layer being filled, in a private folder that nobody else sees. Closed without {@link #commit}
 * it's gone.
 *
 * <p>Drafts of one image may be filled at once and in any order. What can't be known before the
 * layer below is there (the owner of a folder that the tar doesn't mention, the content behind a
 * hard link into a lower layer) is put off with {@link #deferToCommit}.
 *
 * <p>Not for use by two threads at once.
 */
public interface LayerDraft extends AutoCloseable {

  /** The empty folder to fill, mode 0755, owned by root. */
  Path root();

  /**
   * The chain this layer will lie on; null for a bottom layer, in which whiteouts have nothing to
   * hide.
   */
  @Nullable ChainId parent();

  /**
   * Says what a file in {@link #root} holds, so that the commit needn't read it again: the manifest
   * that it writes names every file's digest. What isn't said is read.
   *
   * @param sha256 of the whole content, which doesn't change any more
   */
  void noteContent(long inode, byte[] sha256);

  /** A file has been made of which no content was noted; its inode may have been another's. */
  void forgetContent(long inode);

  /**
   * A file that becomes part of the layer beside its tree: what the tree doesn't tell of the
   * archive that it was made from. Need not be made.
   */
  Path archiveRecord();

  /** Puts work off until the parent can be looked at. Only for a draft that has a parent. */
  void deferToCommit(DeferredWork work);

  /**
   * Runs the deferred work, writes the manifest, makes all of it durable and then visible. When
   * another draft of the same chain was committed meanwhile, that one stays and this one is
   * discarded: the same chain ID means the same tree. Only one that is known to be damaged is
   * replaced; who has it mounted keeps it as long as he has.
   *
   * <p>Waits for the disk, seconds for a slow one; from a virtual thread without holding its
   * carrier.
   *
   * @return the layer now on disk
   * @throws SnapshotException LAYER_MISSING when the parent isn't committed, NO_SPACE, FILE_SYSTEM
   */
  Layer commit() throws InterruptedException;

  /** Discards the draft unless it was committed. */
  @Override
  void close();

  /** Work that needs to see the layers below. */
  @FunctionalInterface
  interface DeferredWork {
    /**
     * @param parent the tree of all layers below as a container would see it, read-only
     */
    void run(Path parent) throws InterruptedException;
  }
}
