package io.berth.image;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.image.ImageException.Reason;
import io.berth.linux.Errno;
import io.berth.linux.ErrnoException;
import io.berth.linux.Fd;
import io.berth.linux.RootedTree;
import io.berth.oci.ChainId;
import io.berth.snapshot.Layer;
import io.berth.snapshot.Snapshotter;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Makes the archive of a layer again, byte for byte, from its tree and its {@link TarRecord}.
 *
 * <p>Whether that came out right only the digest of the result tells, which is for the caller to
 * compare: an archive that names a file twice can't be made again, nor one whose files have been
 * damaged.
 */
final class LayerArchive implements TarRecord.Listener, AutoCloseable {
  private final Snapshotter snapshotter;
  private final List<ChainId> chain;
  private final Layer layer;
  private final Path record;
  private final Path view;
  private final OutputStream out;
  private final byte[] piece = new byte[128 << 10];
  private final RootedTree tree;
  private @Nullable RootedTree stacked;
  private @Nullable Fd file;
  private String path = "";
  private long at;

  /**
   * @param chain the layers up to this one, bottom first, held by the caller
   * @param view a folder that doesn't exist, for the layers below to be mounted in if they are
   *     needed
   * @throws ImageException UNSUPPORTED where nothing was recorded of the archive
   */
  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // closed by close()
  LayerArchive(Snapshotter snapshotter, List<ChainId> chain, Path view, OutputStream out) {
    this.snapshotter = snapshotter;
    this.chain = List.copyOf(chain);
    this.view = view;
    this.out = out;
    ChainId id = chain.getLast();
    this.layer =
        snapshotter
            .layer(id)
            .orElseThrow(() ->
                new ImageException(
                    Reason.NOT_FOUND, "layer " + id + " isn't on this machine; pull it again"));
    this.record =
        snapshotter
            .archiveRecord(id)
            .orElseThrow(() ->
                new ImageException(
                    Reason.UNSUPPORTED,
                    "layer "
                        + id
                        + " has no record of the archive that it came in, as an earlier version"
                        + " unpacked it or the record would have been too large; remove the image"
                        + " with all that share the layer and pull it again"));
    this.tree = RootedTree.open(layer.path());
  }

  /** In bytes. */
  long length() {
    try {
      return TarRecord.length(record);
    } catch (IOException e) {
      throw damaged(e);
    }
  }

  /**
   * Writes it.
   *
   * @throws IOException what the stream threw
   * @throws ImageException CORRUPT where files are missing or shorter
   */
  void write() throws IOException, InterruptedException {
    try {
      long _ = TarRecord.read(record, this);
    } catch (InterruptedIOException e) {
      throw new InterruptedException(e.getMessage());
    }
  }

  @Override
  public void raw(byte[] bytes, int length) throws IOException {
    out.write(bytes, 0, length);
  }

  @Override
  public void content(String wanted, long offset, long length) throws IOException {
    Fd from = file;
    if (from == null || !wanted.equals(path)) {
      closeFile();
      from = open(wanted);
      file = from;
      path = wanted;
      at = 0;
    }
    if (offset != at) {
      from.seek(offset);
    }
    at = offset + length;
    byte[] buffer = piece;
    for (long left = length; left > 0; ) {
      int n = from.read(buffer);
      if (n <= 0) {
        throw differs(wanted, "is shorter");
      }
      int used = (int) Math.min(n, left);
      out.write(buffer, 0, used);
      left -= used;
      if (used < n) {
        from.seek(at); // the next piece of a file with holes begins elsewhere
      }
      if (Thread.interrupted()) {
        throw new InterruptedIOException("writing the archive of a layer was interrupted");
      }
    }
  }

  /** In the layer itself, else where links of the layers below have led it. */
  private Fd open(String wanted) {
    try {
      return open(tree, wanted);
    } catch (ErrnoException e) {
      if (chain.size() == 1 || !(e.is(Errno.ENOENT) || e.is(Errno.ENOTDIR))) {
        throw differs(wanted, String.valueOf(e.getMessage()));
      }
    }
    try {
      return open(stacked(), wanted);
    } catch (ErrnoException e) {
      throw differs(wanted, String.valueOf(e.getMessage()));
    }
  }

  @SuppressWarnings("MustBeClosedChecker") // closed by closeFile()
  private Fd open(RootedTree from, String wanted) {
    String name = LayerPath.name(wanted);
    try (Fd folder = from.openDirectory(LayerPath.folder(wanted))) {
      if (!from.stat(folder, name).isRegular()) {
        throw differs(wanted, "is no file"); // opening it could wait for ever
      }
      return from.openFile(folder, name);
    }
  }

  @SuppressWarnings("MustBeClosedChecker") // closed by close()
  private RootedTree stacked() {
    RootedTree known = stacked;
    if (known == null) {
      try {
        Files.createDirectories(view);
      } catch (IOException e) {
        throw new ImageException(Reason.DISK, "make folder " + view + ": " + e.getMessage(), e);
      }
      snapshotter.mountReadOnly(chain, view);
      known = RootedTree.open(view);
      stacked = known;
    }
    return known;
  }

  private ImageException differs(String wanted, String how) {
    return new ImageException(
        Reason.CORRUPT,
        "layer "
            + layer.chainId()
            + " isn't what was pulled: "
            + wanted
            + " "
            + how
            + "; see berth image verify --repair");
  }

  private ImageException damaged(IOException e) {
    return new ImageException(
        Reason.CORRUPT,
        "the record of the archive of layer "
            + layer.chainId()
            + " can't be read: "
            + e.getMessage()
            + "; remove the image with all that share the layer and pull it again",
        e);
  }

  private void closeFile() {
    Fd open = file;
    if (open != null) {
      open.close();
    }
    file = null;
  }

  @Override
  public void close() {
    closeFile();
    tree.close();
    RootedTree mounted = stacked;
    if (mounted != null) {
      mounted.close();
      snapshotter.unmount(view);
    }
  }
}
