package io.berth.image;

import io.berth.image.ImageException.Reason;
import io.berth.image.LayerTree.Folder;
import io.berth.linux.Errno;
import io.berth.linux.ErrnoException;
import io.berth.linux.Fd;
import io.berth.linux.FileTree;
import io.berth.linux.RootedTree;
import io.berth.snapshot.LayerDraft;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;

/**
 * Completes a layer with what only the layers below can tell, so that it becomes what unpacking on
 * top of them would have given:
 *
 * <ul>
 *   <li>A folder that the archive implies but doesn't describe takes owner, mode, attributes and
 *       time from below.
 *   <li>Where there is a link below instead of such a folder, its content goes to where the link
 *       leads.
 *   <li>A hard link to a file below gets a copy of it, under both names.
 *   <li>Whiteouts go where overlayfs would show them: in folders of which the layers below have
 *       nothing to merge.
 *   <li>An opaque root folder hides everything below entry by entry, as overlayfs doesn't look at
 *       the root's attribute.
 * </ul>
 */
final class LayerFixups {
  private final LayerDraft layer;
  private final LayerTree draft;
  private final RootedTree parent;
  private final LayerNotes notes;

  /** Implied folders that turned out to be links below, and where their content went. */
  private final Map<String, String> moved = new LinkedHashMap<>();

  /** Names in the draft of files copied from below, by their names below. */
  private final Map<String, String> copied = new LinkedHashMap<>();

  /** Folders in which something was made, and whose time changed by that. */
  private final TreeSet<String> touched = new TreeSet<>();

  private LayerFixups(LayerDraft layer, LayerTree draft, RootedTree parent, LayerNotes notes) {
    this.layer = layer;
    this.draft = draft;
    this.parent = parent;
    this.notes = notes;
  }

  /**
   * @param layer the filled draft
   * @param parent the tree of the layers below
   */
  static void apply(LayerDraft layer, Path parent, LayerNotes notes, UnpackLimits limits)
      throws InterruptedException {
    try (LayerTree draft = new LayerTree(layer.root(), notes, true, limits.pathBytes());
        RootedTree below = RootedTree.open(parent)) {
      new LayerFixups(layer, draft, below, notes).run();
    } catch (ErrnoException e) {
      throw LayerUnpacker.failure("complete layer from the layers below", e);
    }
  }

  private void run() throws InterruptedException {
    for (String path : List.copyOf(notes.implied)) {
      followLinkBelow(now(path));
    }
    for (Map.Entry<String, String> link : List.copyOf(notes.links.entrySet())) {
      if (Thread.interrupted()) {
        throw new InterruptedException("completing a layer was interrupted");
      }
      copyLinked(now(link.getKey()), now(link.getValue()));
    }
    for (String folder : notes.whitedOut) {
      removeIdleWhiteouts(now(folder));
    }
    if (notes.opaque.contains("")) {
      hideRootContent();
    }
    for (String path : notes.implied) {
      if (!notes.isHiddenAbove(path)) {
        describeAsBelow(path);
      }
    }
    for (String path : touched) {
      long[] time = notes.times.get(path);
      if (time != null) {
        LayerUnpacker.setFolderTime(draft, path, time);
      }
    }
  }

  /** Where a path of the notes is by now. */
  private String now(String path) {
    String at = path;
    for (Map.Entry<String, String> move : moved.entrySet()) {
      if (at.equals(move.getKey())) {
        at = move.getValue();
      } else if (at.startsWith(move.getKey() + "/")) {
        at = LayerPath.join(move.getValue(), at.substring(move.getKey().length() + 1));
      }
    }
    return at;
  }

  // Links below

  private void followLinkBelow(String path) {
    if (path.isEmpty() || !notes.implied.contains(path) || notes.isHiddenAbove(path)) {
      return;
    }
    Optional<RootedTree.Stat> below = findBelow(path);
    if (below.isEmpty() || !below.get().isSymlink()) {
      return;
    }
    Optional<String> target = leadsTo(path);
    if (target.isEmpty()) {
      return; // a dangling link gives way to the folder
    }
    Optional<Folder> from = draft.existingFolder(path);
    if (from.isEmpty() || target.get().equals(path)) {
      return;
    }
    String real = draft.folder(target.get()).path();
    if (notes.opaque.contains(path)) {
      draft.makeOpaque(draft.folder(real));
    }
    merge(path, real);
    String folder = LayerPath.folder(path);
    draft.files().removeDirectory(draft.folder(folder).fd(), LayerPath.name(path));
    draft.forgetOpen();
    rename(path, real);
    touched.add(folder);
    touched.add(real);
  }

  /** What a link below leads to, if that is a folder: its real path. */
  private Optional<String> leadsTo(String path) {
    try (Fd folder = parent.openDirectory(path)) {
      Path root = Files.readSymbolicLink(parent.root().procPath());
      return Optional.of(root.relativize(Files.readSymbolicLink(folder.procPath())).toString());
    } catch (ErrnoException e) {
      if (isAbsence(e)) {
        return Optional.empty();
      }
      throw e;
    } catch (IOException e) {
      throw new UncheckedIOException(
          "follow " + path + " in the layers below: " + e.getMessage(), e);
    }
  }

  /**
   * Moves the content of one folder of the draft into another; what the other has already stays.
   */
  private void merge(String fromPath, String toPath) {
    for (RootedTree.Entry entry : draft.files().list(draft.folder(fromPath).fd())) {
      Fd from = draft.folder(fromPath).fd();
      Fd to = draft.folder(toPath).fd();
      String name = entry.name();
      Optional<RootedTree.Stat> there = draft.files().find(to, name);
      if (there.isEmpty()) {
        draft.files().rename(from, name, to, name);
      } else if (there.get().isDirectory() && draft.files().stat(from, name).isDirectory()) {
        merge(LayerPath.join(fromPath, name), LayerPath.join(toPath, name));
        draft.files().removeDirectory(draft.folder(fromPath).fd(), name);
      } else {
        FileTree.delete(draft.files(), from, name);
      }
    }
  }

  /** Renames a folder in everything that is noted of it. */
  private void rename(String from, String to) {
    moved.put(from, to);
    notes.implied.remove(from);
    notes.opaque.remove(from);
    List<String> implied = new ArrayList<>(notes.implied.subSet(from + "/", from + "0"));
    notes.implied.removeAll(implied);
    implied.forEach(path -> notes.implied.add(now(path)));
    List<String> opaque = new ArrayList<>(notes.opaque.subSet(from + "/", from + "0"));
    notes.opaque.removeAll(opaque);
    opaque.forEach(path -> notes.opaque.add(now(path)));
    Map<String, long[]> times = new LinkedHashMap<>(notes.times.subMap(from + "/", from + "0"));
    notes.times.keySet().removeAll(times.keySet());
    times.forEach((path, time) -> notes.times.putIfAbsent(now(path), time));
    // Where a described folder met an implied one, it is described.
    notes.implied.removeAll(notes.times.keySet());
  }

  // Hard links

  private void copyLinked(String path, String target) throws InterruptedException {
    String name = LayerPath.name(path);
    if (draft.files().find(draft.folder(LayerPath.folder(path)).fd(), name).isPresent()) {
      return; // a later entry of this name came through another path
    }
    String targetName = LayerPath.name(target);
    Folder targetFolder = draft.folder(LayerPath.folder(target));
    String real = LayerPath.join(targetFolder.path(), targetName);
    Optional<RootedTree.Stat> there = draft.files().find(targetFolder.fd(), targetName);
    if (there.isEmpty() && !notes.isHiddenAbove(real)) {
      copyUp(target, targetFolder, targetName, path);
      touched.add(targetFolder.path());
      copied.put(real, real);
    }
    String source = copied.get(real);
    Folder folder = draft.folder(LayerPath.folder(path));
    if (source != null) {
      draft
          .files()
          .makeLink(
              draft.folder(LayerPath.folder(source)).fd(),
              LayerPath.name(source),
              folder.fd(),
              name);
    } else {
      // The archive replaces or removes the target later on; the link still means the file below.
      copyUp(target, folder, name, path);
      copied.put(real, LayerPath.join(folder.path(), name));
    }
    touched.add(folder.path());
  }

  private void copyUp(String target, Folder folder, String name, String link)
      throws InterruptedException {
    String below = LayerPath.name(target);
    try (Fd from = parent.openDirectory(LayerPath.folder(target))) {
      RootedTree.Stat stat = parent.stat(from, below);
      if (stat.isDirectory()) {
        throw missing(link, target, "a folder");
      }
      if (stat.isSymlink()) {
        draft.files().makeSymlink(folder.fd(), name, parent.readLink(from, below));
      } else if (stat.isRegular()) {
        copyContent(from, below, folder, name);
      } else {
        draft.files().makeNode(folder.fd(), name, stat.mode(), stat.major(), stat.minor());
      }
      copyMetadata(from, below, stat, folder.fd(), name);
    } catch (ErrnoException e) {
      if (isAbsence(e)) {
        throw missing(link, target, "not in the image");
      }
      throw e;
    }
  }

  private static ImageException missing(String link, String target, String why) {
    return new ImageException(
        Reason.CORRUPT,
        "unpack " + link + ": it is a hard link to " + target + ", which is " + why);
  }

  private void copyContent(Fd from, String below, Folder folder, String name)
      throws InterruptedException {
    byte[] piece = new byte[64 << 10];
    ByteBuffer buffer = ByteBuffer.allocateDirect(piece.length);
    try (Fd source = parent.openFile(from, below);
        Fd copy = draft.files().createFile(folder.fd(), name, 0600)) {
      layer.forgetContent(draft.files().stat(copy, "").inode());
      for (int n = source.read(piece); n > 0; n = source.read(piece)) {
        buffer.clear().put(piece, 0, n);
        copy.write(buffer, n);
        if (Thread.interrupted()) {
          throw new InterruptedException("completing a layer was interrupted");
        }
      }
    }
  }

  // Folders

  /**
   * overlayfs looks for whiteouts in merged folders only; from others they come out as names that
   * can be listed but not looked at.
   */
  private void removeIdleWhiteouts(String path) throws InterruptedException {
    if (path.isEmpty()) {
      return; // the root is always merged
    }
    boolean merged =
        !notes.opaque.contains(path)
            && !notes.isHiddenAbove(path)
            && findBelow(path).filter(RootedTree.Stat::isDirectory).isPresent();
    Optional<Folder> folder = draft.existingFolder(path);
    if (merged || folder.isEmpty()) {
      return;
    }
    Fd fd = folder.get().fd();
    for (RootedTree.Entry entry : draft.files().list(fd)) {
      if (draft.files().find(fd, entry.name()).filter(LayerTree::isWhiteout).isPresent()) {
        draft.files().removeFile(fd, entry.name());
        touched.add(path);
      }
      if (Thread.interrupted()) {
        throw new InterruptedException("completing a layer was interrupted");
      }
    }
  }

  private void describeAsBelow(String path) {
    try (Fd below = parent.openRealDirectory(path)) {
      Optional<Folder> folder = draft.existingFolder(path);
      if (folder.isPresent()) {
        copyMetadata(below, ".", parent.stat(below, ""), folder.get().fd(), ".");
      }
    } catch (ErrnoException e) {
      if (!isAbsence(e)) {
        throw e;
      }
    }
  }

  private void hideRootContent() {
    List<RootedTree.Entry> below;
    try (Fd folder = parent.openDirectory("")) {
      below = parent.list(folder);
    }
    for (RootedTree.Entry entry : below) {
      Fd root = draft.folder("").fd();
      Optional<RootedTree.Stat> there = draft.files().find(root, entry.name());
      if (there.isEmpty()) {
        draft.files().makeNode(root, entry.name(), LayerTree.S_IFCHR, 0, 0);
      } else if (there.get().isDirectory()) {
        draft.makeOpaque(draft.folder(entry.name()));
      }
    }
    touched.add("");
  }

  private void copyMetadata(Fd from, String fromName, RootedTree.Stat stat, Fd to, String toName) {
    RootedTree files = draft.files();
    files.setOwner(to, toName, stat.uid(), stat.gid());
    for (String xattr : parent.listXattrs(from, fromName)) {
      if (!LayerTree.isOverlayAttribute(xattr)) {
        parent
            .getXattr(from, fromName, xattr)
            .ifPresent(value -> files.setXattr(to, toName, xattr, value));
      }
    }
    if (!stat.isSymlink()) {
      files.setMode(to, toName, stat.permissions());
    }
    files.setTime(to, toName, stat.mtimeSeconds(), stat.mtimeNanos());
  }

  private Optional<RootedTree.Stat> findBelow(String path) {
    try (Fd folder = parent.openRealDirectory(LayerPath.folder(path))) {
      return parent.find(folder, LayerPath.name(path));
    } catch (ErrnoException e) {
      if (isAbsence(e)) {
        return Optional.empty();
      }
      throw e;
    }
  }

  private static boolean isAbsence(ErrnoException e) {
    return e.is(Errno.ENOENT) || e.is(Errno.ENOTDIR) || e.is(Errno.ELOOP);
  }
}
