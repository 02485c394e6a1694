package io.berth.image;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.image.ImageException.Reason;
import io.berth.image.LayerTree.Folder;
import io.berth.linux.Errno;
import io.berth.linux.ErrnoException;
import io.berth.linux.Fd;
import io.berth.linux.FileTree;
import io.berth.linux.RootedTree;
import io.berth.linux.Sha256;
import io.berth.snapshot.LayerDraft;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.jspecify.annotations.Nullable;

/**
 * Unpacks a layer's tar into a draft, in overlayfs's form: image-spec, "Image Layer Filesystem
 * Changeset".
 *
 * <p>Needs nothing of the layers below, so layers can be unpacked in any order and at once.
 * Whiteouts become character devices 0:0 and opaque folders get overlayfs's attribute. What does
 * need the layers below waits for the commit, in {@link LayerFixups}.
 *
 * <p>The archive is a stranger's. No name or link leads out of the draft, not even while somebody
 * changes the tree ({@link LayerTree}), no attribute of the archive speaks to overlayfs, and {@link
 * UnpackLimits} bounds what it may use up. Time is linear in the archive's size.
 */
public final class LayerUnpacker {
  private static final String WHITEOUT = ".wh.";
  private static final String OPAQUE = ".wh..wh..opq";
  private static final String AUFS = ".wh..wh.";
  private static final int S_IFIFO = 0010000;
  private static final int S_IFBLK = 0060000;

  /**
   * Files from this size on are sent to the disk at once, so that the sync of the commit finds
   * little to do.
   */
  private static final long EARLY_WRITEBACK = 1 << 20;

  /** Most bytes behind the end mark; tapes' blocks are the most that any program writes. */
  private static final long PADDING = 1 << 30;

  private static final int BUFFER = 128 << 10;

  private final UnpackLimits limits;

  /** As many as layers were unpacked at once: memory outside the heap is freed late. */
  private final Queue<Buffers> buffers = new ConcurrentLinkedQueue<>();

  /**
   * What an unpacking needs of memory.
   *
   * @param archive read ahead
   * @param content on its way into a file
   */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record Buffers(byte[] archive, ByteBuffer content) {}

  public LayerUnpacker(UnpackLimits limits) {
    this.limits = limits;
  }

  /**
   * Unpacks up to the archive's end mark, and reads on to the end of the stream: padding may
   * follow, which the digest of the uncompressed layer covers, though not without end. What the
   * tree won't tell of the archive goes into the draft's record of it ({@link TarRecord}).
   *
   * <p>Blocks in native calls for as long as the disk does, which would hold the carrier of a
   * virtual thread: to be called on a platform thread.
   *
   * @throws IOException what the stream threw
   * @throws ImageException CORRUPT if the archive is malformed, forbidden or beyond the limits,
   *     DISK if writing failed; the draft is to be discarded
   */
  void unpack(InputStream tar, LayerDraft draft) throws IOException, InterruptedException {
    LayerNotes notes = new LayerNotes();
    boolean hasParent = draft.parent() != null;
    Buffers known = buffers.poll();
    Buffers own =
        known == null ? new Buffers(new byte[BUFFER], ByteBuffer.allocateDirect(BUFFER)) : known;
    try (LayerTree tree = new LayerTree(draft.root(), notes, hasParent, limits.pathBytes());
        TarRecord.Writer record = new TarRecord.Writer(draft.archiveRecord())) {
      TarReader reader = new TarReader(tar, limits.headerBytes(), record, own.archive());
      new Run(reader, tree, notes, draft, record, own.content()).unpackAll();
      reader.readOut(Math.min(limits.contentBytes(), PADDING));
      record.finish();
      if (hasParent) {
        draft.deferToCommit(parent -> LayerFixups.apply(draft, parent, notes, limits));
      }
    } catch (TarFormatException e) {
      throw new ImageException(Reason.CORRUPT, "unpack layer: " + e.getMessage(), e);
    } catch (ErrnoException e) {
      throw failure("unpack layer", e);
    } finally {
      buffers.add(own);
    }
  }

  /** A refusal of the kernel is the archive's fault unless it is about the machine. */
  static ImageException failure(String operation, ErrnoException e) {
    boolean machine =
        switch (e.errno()) {
          case Errno.ENOSPC,
              Errno.EDQUOT,
              Errno.EIO,
              Errno.EROFS,
              Errno.ENOMEM,
              Errno.EPERM,
              Errno.EACCES ->
              true;
          default -> false;
        };
    return new ImageException(
        machine ? Reason.DISK : Reason.CORRUPT, operation + ": " + e.getMessage(), e);
  }

  /** One unpacking. */
  private final class Run {
    private final TarReader tar;
    private final LayerTree tree;
    private final RootedTree files;
    private final LayerNotes notes;
    private final LayerDraft draft;
    private final TarRecord.Writer record;
    private final boolean hasParent;
    private final MessageDigest hash = Sha256.start();
    private final ByteBuffer buffer;

    /** The real path of a whiteout of this layer, to link others to. */
    private @Nullable String whiteout;

    private long entries;
    private long content;

    Run(
        TarReader tar,
        LayerTree tree,
        LayerNotes notes,
        LayerDraft draft,
        TarRecord.Writer record,
        ByteBuffer buffer) {
      this.tar = tar;
      this.tree = tree;
      this.files = tree.files();
      this.notes = notes;
      this.draft = draft;
      this.record = record;
      this.buffer = buffer;
      this.hasParent = draft.parent() != null;
    }

    void unpackAll() throws IOException, InterruptedException {
      for (TarEntry entry = tar.next(); entry != null; entry = tar.next()) {
        if (Thread.interrupted()) {
          throw new InterruptedException("unpacking was interrupted");
        }
        if (++entries > limits.entries()) {
          throw refused("the archive", "it has more than " + limits.entries() + " entries");
        }
        if (entry.name().length() > limits.pathBytes()
            || entry.linkName().length() > limits.pathBytes()) {
          throw refused(
              "a name of "
                  + Math.max(entry.name().length(), entry.linkName().length())
                  + " characters",
              "at most " + limits.pathBytes() + " are allowed");
        }
        content += entry.size(); // of what is skipped, too
        if (entry.size() > limits.contentBytes() || content > limits.contentBytes()) {
          throw refused(
              "the archive", "its files have more than " + limits.contentBytes() + " bytes");
        }
        try {
          unpack(entry);
        } catch (ErrnoException e) {
          throw failure("unpack " + entry.name(), e);
        }
      }
      notes.times.forEach((path, time) -> setFolderTime(tree, path, time));
    }

    private void unpack(TarEntry entry) throws IOException, InterruptedException {
      String path = LayerPath.clean(entry.name());
      if (path.isEmpty()) {
        if (entry.type() != TarEntry.Type.FOLDER) {
          throw refused(entry.name(), "the root can only be a folder");
        }
        describe(tree.folder(""), entry);
        return;
      }
      String name = LayerPath.name(path);
      String folderPath = LayerPath.folder(path);
      if (folderPath.startsWith(AUFS) || folderPath.contains("/" + AUFS) || name.startsWith(AUFS)) {
        if (path.equals(LayerPath.join(folderPath, OPAQUE)) && !folderPath.contains(AUFS)) {
          tree.folderUnlessBlocked(folderPath).ifPresent(tree::makeOpaque);
        }
        return; // aufs's own notes, which mean nothing elsewhere
      }
      if (name.startsWith(WHITEOUT)) {
        whiteOut(folderPath, name.substring(WHITEOUT.length()), entry);
        return;
      }
      Folder folder = tree.folder(folderPath);
      if (entry.type() == TarEntry.Type.FOLDER) {
        makeFolder(folder, name, entry);
        return;
      }
      if (!notes.links.isEmpty()) {
        notes.links.remove(LayerPath.join(folder.path(), name));
      }
      switch (entry.type()) {
        case FILE -> makeFile(folder, name, entry);
        case HARD_LINK -> link(folder, name, entry);
        case SYMLINK -> makeSymlink(folder, name, entry);
        case CHARACTER_DEVICE -> makeNode(folder, name, entry, LayerTree.S_IFCHR);
        case BLOCK_DEVICE -> makeNode(folder, name, entry, S_IFBLK);
        case FIFO -> makeNode(folder, name, entry, S_IFIFO);
        case FOLDER -> throw new IllegalStateException("made above");
      }
    }

    // Whiteouts. They speak of lower layers only, so what this layer itself has of that name stays,
    // whatever the order. Where this layer has a file in a folder's place nothing is left to
    // remove;
    // umoci lists what was in the folder all the same.

    private void whiteOut(String folderPath, String name, TarEntry entry) {
      if (name.isEmpty() || name.equals(".") || name.equals("..")) {
        throw refused(entry.name(), "it is no valid whiteout");
      }
      Optional<Folder> folder = tree.folderUnlessBlocked(folderPath);
      if (!hasParent || folder.isEmpty()) {
        return;
      }
      String path = LayerPath.join(folder.get().path(), name);
      if (notes.links.containsKey(path)) {
        return;
      }
      Optional<RootedTree.Stat> found = files.find(folder.get().fd(), name);
      if (found.isEmpty()) {
        makeWhiteout(path);
      } else if (found.get().isDirectory()) {
        tree.makeOpaque(tree.folder(path));
        notes.implied.remove(path);
      }
    }

    /** All whiteouts are one inode as far as it bears more links: a storm of them takes none. */
    private void makeWhiteout(String path) {
      String name = LayerPath.name(path);
      notes.whitedOut.add(LayerPath.folder(path));
      String known = whiteout;
      if (known != null) {
        try {
          Folder from = tree.folder(LayerPath.folder(known));
          Folder to = tree.folder(LayerPath.folder(path));
          files.makeLink(from.fd(), LayerPath.name(known), to.fd(), name);
          return;
        } catch (ErrnoException e) {
          // EPERM: it has become a folder
          if (!e.is(Errno.EMLINK) && !e.is(Errno.ENOENT) && !e.is(Errno.EPERM)) {
            throw e;
          }
        }
      }
      Folder folder = tree.folder(LayerPath.folder(path));
      files.makeNode(folder.fd(), name, LayerTree.S_IFCHR, 0, 0);
      whiteout = path;
    }

    // Entries, in the order: create, owner, attributes, mode, times. Changing the owner drops
    // security.capability and the setuid bit; an ACL among the attributes changes the mode.

    private void makeFolder(Folder folder, String name, TarEntry entry) {
      String path = LayerPath.join(folder.path(), name);
      Optional<RootedTree.Stat> found = Optional.empty();
      try {
        files.makeDirectory(folder.fd(), name, 0700);
      } catch (ErrnoException e) {
        if (!e.is(Errno.EEXIST)) {
          throw e;
        }
        found = files.find(folder.fd(), name);
        if (found.isPresent() && !found.get().isDirectory()) {
          clear(folder, name);
          files.makeDirectory(folder.fd(), name, 0700);
        }
      }
      Folder made = tree.folder(path);
      if (found.isPresent() && !found.get().isDirectory()) {
        // What was there, a whiteout or another entry, has replaced the lower layers' folder of
        // this name.
        tree.makeOpaque(made);
      }
      if (!notes.links.isEmpty() && notes.links.remove(path) != null) {
        tree.makeOpaque(made);
      }
      describe(made, entry);
    }

    private void describe(Folder folder, TarEntry entry) {
      files.setOwner(folder.fd(), owner(entry.uid(), entry), owner(entry.gid(), entry));
      setXattrs(folder.fd(), ".", entry);
      files.setMode(folder.fd(), entry.mode());
      notes.implied.remove(folder.path());
      notes.times.put(folder.path(), new long[] {entry.mtimeSeconds(), entry.mtimeNanos()});
    }

    private void makeFile(Folder folder, String name, TarEntry entry)
        throws IOException, InterruptedException {
      String path = LayerPath.join(folder.path(), name);
      try (Fd file = create(folder, name)) {
        if (entry.sparse() == null) {
          hash.reset();
          write(file, path, 0, entry.size());
          draft.noteContent(files.stat(file, "").inode(), hash.digest());
        } else {
          writeSparse(file, path, entry.sparse());
          draft.forgetContent(files.stat(file, "").inode());
        }
        files.setOwner(file, owner(entry.uid(), entry), owner(entry.gid(), entry));
        setXattrs(folder.fd(), name, entry);
        files.setMode(file, entry.mode());
        files.setTime(file, entry.mtimeSeconds(), entry.mtimeNanos());
        if (entry.size() >= EARLY_WRITEBACK) {
          FileTree.startWriteback(file);
        }
      }
    }

    @MustBeClosed
    private Fd create(Folder folder, String name) {
      try {
        return files.createFile(folder.fd(), name, 0600);
      } catch (ErrnoException e) {
        if (!e.is(Errno.EEXIST)) {
          throw e;
        }
      }
      clear(folder, name);
      return files.createFile(folder.fd(), name, 0600);
    }

    private void write(Fd file, String path, long offset, long length)
        throws IOException, InterruptedException {
      record.content(path, offset, length);
      long left = length;
      while (left > 0) {
        buffer.clear().limit((int) Math.min(left, buffer.capacity()));
        tar.read(buffer);
        int piece = buffer.position();
        file.write(buffer, piece);
        buffer.flip();
        hash.update(buffer); // for the manifest, while it is at hand
        left -= piece;
        if (left > 0 && Thread.interrupted()) {
          throw new InterruptedException("unpacking was interrupted");
        }
      }
    }

    private void writeSparse(Fd file, String path, TarEntry.SparseMap sparse)
        throws IOException, InterruptedException {
      long[] extents = sparse.extents();
      for (int i = 0; i < extents.length; i += 2) {
        file.seek(extents[i]);
        write(file, path, extents[i], extents[i + 1]);
      }
      file.truncate(sparse.fileSize());
    }

    private void makeSymlink(Folder folder, String name, TarEntry entry) {
      if (entry.linkName().isEmpty()) {
        throw refused(entry.name(), "it is a symbolic link to nothing");
      }
      clear(folder, name);
      files.makeSymlink(folder.fd(), name, entry.linkName());
      files.setOwner(folder.fd(), name, owner(entry.uid(), entry), owner(entry.gid(), entry));
      setXattrs(folder.fd(), name, entry);
      files.setTime(folder.fd(), name, entry.mtimeSeconds(), entry.mtimeNanos());
    }

    private void makeNode(Folder folder, String name, TarEntry entry, int type) {
      clear(folder, name);
      if (type == LayerTree.S_IFCHR && entry.major() == 0 && entry.minor() == 0) {
        // overlayfs takes it for a whiteout, and never shows it.
        if (!hasParent) {
          return;
        }
        notes.whitedOut.add(folder.path());
      }
      files.makeNode(
          folder.fd(),
          name,
          type | 0600,
          number(entry.major(), entry),
          number(entry.minor(), entry));
      files.setOwner(folder.fd(), name, owner(entry.uid(), entry), owner(entry.gid(), entry));
      setXattrs(folder.fd(), name, entry);
      files.setMode(folder.fd(), name, entry.mode());
      files.setTime(folder.fd(), name, entry.mtimeSeconds(), entry.mtimeNanos());
    }

    /**
     * The target is found as any path, its last name not followed; one that isn't in this layer is
     * looked for later.
     */
    private void link(Folder linkFolder, String name, TarEntry entry) {
      String target = LayerPath.clean(entry.linkName());
      if (target.isEmpty()) {
        throw refused(entry.name(), "it is a hard link to the root folder");
      }
      String path = LayerPath.join(linkFolder.path(), name);
      String targetName = LayerPath.name(target);
      Optional<Folder> targetFolder = tree.existingFolder(LayerPath.folder(target));
      Optional<RootedTree.Stat> found = targetFolder.flatMap(f -> files.find(f.fd(), targetName));
      String real = targetFolder.map(f -> LayerPath.join(f.path(), targetName)).orElse(target);
      if (real.equals(path)) {
        return;
      }
      Folder folder = tree.folder(linkFolder.path());
      if (found.isEmpty()) {
        defer(folder, name, path, notes.links.getOrDefault(real, real), entry);
        return;
      }
      if (found.get().isDirectory() || LayerTree.isWhiteout(found.get())) {
        throw refused(
            entry.name(),
            "it is a hard link to "
                + entry.linkName()
                + ", which is "
                + (found.get().isDirectory() ? "a folder" : "removed"));
      }
      clear(folder, name);
      // Clearing may have removed a folder with the target in it: then link(2) says so.
      files.makeLink(
          tree.folder(LayerPath.folder(real)).fd(),
          targetName,
          tree.folder(linkFolder.path()).fd(),
          name);
    }

    private void defer(Folder folder, String name, String path, String target, TarEntry entry) {
      if (!hasParent) {
        throw refused(
            entry.name(),
            "it is a hard link to " + entry.linkName() + ", which is not in the image");
      }
      clear(folder, name);
      notes.links.put(path, target);
    }

    private void setXattrs(Fd folder, String name, TarEntry entry) {
      for (Map.Entry<String, byte[]> xattr : entry.xattrs().entrySet()) {
        if (LayerTree.isOverlayAttribute(xattr.getKey())) {
          continue; // only Berth tells overlayfs what to hide
        }
        try {
          files.setXattr(folder, name, xattr.getKey(), xattr.getValue());
        } catch (ErrnoException e) {
          boolean unsupported = e.is(Errno.EOPNOTSUPP);
          // user.* belongs to files and folders only, xattr(7).
          boolean misplaced =
              e.is(Errno.EPERM)
                  && xattr.getKey().startsWith("user.")
                  && entry.type() != TarEntry.Type.FILE
                  && entry.type() != TarEntry.Type.FOLDER;
          if (!unsupported && !misplaced) {
            throw e;
          }
        }
      }
    }

    private int owner(long id, TarEntry entry) {
      // The highest 32-bit number means "leave as it is" to chown(2).
      if (id < 0 || id >= 0xffffffffL) {
        throw refused(entry.name(), "its owner " + id + " is no user or group id");
      }
      return (int) id;
    }

    private int number(long device, TarEntry entry) {
      if (device < 0 || device > Integer.MAX_VALUE) {
        throw refused(entry.name(), "its device number " + device + " is impossible");
      }
      return (int) device;
    }

    private void clear(Folder folder, String name) {
      Optional<RootedTree.Stat> removed = tree.clear(folder, name);
      if (removed.isPresent()
          && (removed.get().isDirectory() || LayerTree.isWhiteout(removed.get()))) {
        whiteout = null; // it may have been that one, and its name may come to mean another file
      }
    }
  }

  static void setFolderTime(LayerTree tree, String path, long[] time) {
    tree.existingFolder(path)
        .ifPresent(folder -> tree.files().setTime(folder.fd(), time[0], (int) time[1]));
  }

  private static ImageException refused(String object, String why) {
    return new ImageException(Reason.CORRUPT, "unpack " + object + ": " + why);
  }
}
