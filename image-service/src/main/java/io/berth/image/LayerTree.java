package io.berth.image;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.image.ImageException.Reason;
import io.berth.linux.Errno;
import io.berth.linux.ErrnoException;
import io.berth.linux.Fd;
import io.berth.linux.FileTree;
import io.berth.linux.RootedTree;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * The tree of a layer that is being made: finds folders by path, making those that are missing, and
 * removes what gives way to a new entry.
 *
 * <p>Links in a path are followed here and not by the kernel, because what they lead to may not be
 * in this layer yet. Every single step is a name in an open folder that isn't followed, {@code ..}
 * is taken back on the path and ends at the root: so nothing leaves the tree, whoever changes it
 * meanwhile.
 *
 * <p>A bounded number of folders stays open, so that neither deep trees nor many files in one
 * folder cost more than one step an entry.
 */
final class LayerTree implements AutoCloseable {
  static final int S_IFCHR = 0020000;
  private static final int S_IFMT = 0170000;
  private static final String OPAQUE = "trusted.overlay.opaque";
  private static final byte[] YES = "y".getBytes(StandardCharsets.US_ASCII);
  private static final int OPEN_FOLDERS = 128;
  private static final int MOST_LINKS = 40; // as the kernel's own limit, path_resolution(7)

  private final RootedTree tree;
  private final LayerNotes notes;
  private final boolean hasParent;
  private final int pathBytes;

  /** Open folders by real path, the one used longest ago first. */
  private final Map<String, Folder> open = new LinkedHashMap<>(2 * OPEN_FOLDERS, 0.75f, true);

  /** Paths that lead over links, and the real ones. */
  private final Map<String, String> aliases = new LinkedHashMap<>();

  /**
   * An open folder of the tree and its real path. Closed by the tree when it hasn't been used for
   * long.
   */
  record Folder(Fd fd, String path) {}

  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // closed by close()
  LayerTree(Path root, LayerNotes notes, boolean hasParent, int pathBytes) {
    this.tree = RootedTree.open(root);
    this.notes = notes;
    this.hasParent = hasParent;
    this.pathBytes = pathBytes;
  }

  RootedTree files() {
    return tree;
  }

  /**
   * The folder at a path, made with everything above it where it is missing. Usable until the next
   * call.
   *
   * @throws ImageException CORRUPT when something else than a folder is in the way
   */
  Folder folder(String path) {
    return find(path, Missing.MADE).orElseThrow(() -> corrupt(path, "something is in the way"));
  }

  /**
   * As {@link #folder}, but empty when something else than a folder is in the way. Usable until the
   * next call.
   */
  Optional<Folder> folderUnlessBlocked(String path) {
    return find(path, Missing.MADE_UNLESS_BLOCKED);
  }

  /** The folder at a path, if it is in this layer. Usable until the next call. */
  Optional<Folder> existingFolder(String path) {
    return find(path, Missing.LEFT);
  }

  /** What becomes of folders that aren't there. */
  private enum Missing {
    MADE,
    MADE_UNLESS_BLOCKED,
    LEFT
  }

  private Optional<Folder> find(String path, Missing missing) {
    Folder known = open.get(aliases.getOrDefault(path, path));
    if (known != null) {
      return Optional.of(known);
    }
    // Nearly always the folder above is open and this one is new or no link.
    Folder above = open.get(LayerPath.folder(path));
    if (above == null && !path.isEmpty()) {
      Optional<Folder> whole = openReal(path);
      if (whole.isPresent()) {
        return whole;
      }
    }
    Deque<String> rest = new ArrayDeque<>();
    String start = "";
    if (above == null) {
      rest.addAll(parts(path));
    } else {
      start = above.path();
      rest.add(LayerPath.name(path));
    }
    if (path.isEmpty()) {
      rest.clear();
    }
    return walk(path, start, rest, missing);
  }

  private Optional<Folder> walk(String path, String start, Deque<String> rest, Missing missing) {
    String at = start;
    int links = 0;
    while (!rest.isEmpty()) {
      String name = rest.pop();
      if (name.equals("..")) {
        at = LayerPath.folder(at);
        continue;
      }
      String next = LayerPath.join(at, name);
      if (open.containsKey(next)) {
        at = next;
        continue;
      }
      Folder folder = realFolder(at);
      try {
        keep(new Folder(openChild(folder, name), next));
        at = next;
        continue;
      } catch (ErrnoException e) {
        if (!e.is(Errno.ENOENT) && !e.is(Errno.ENOTDIR) && !e.is(Errno.ELOOP)) {
          throw e;
        }
      }
      Optional<RootedTree.Stat> found = tree.find(folder.fd(), name);
      if (found.isPresent() && found.get().isSymlink()) {
        if (++links > MOST_LINKS) {
          throw corrupt(path, "there are more than " + MOST_LINKS + " symbolic links in it");
        }
        String target = tree.readLink(folder.fd(), name);
        for (String part : parts(target).reversed()) {
          rest.push(part);
        }
        if (target.startsWith("/")) {
          at = "";
        }
        if (length(rest) > pathBytes) {
          throw corrupt(path, "symbolic links make it longer than " + pathBytes + " bytes");
        }
      } else if (missing == Missing.LEFT) {
        return Optional.empty();
      } else if (found.isEmpty()) {
        makeImplied(folder, name, next);
        at = next;
      } else if (isWhiteout(found.get())) {
        // This layer removes what lower ones have here, and then begins anew.
        tree.removeFile(folder.fd(), name);
        makeImplied(folder, name, next);
        makeOpaque(realFolder(next));
        notes.implied.remove(next);
        at = next;
      } else if (missing == Missing.MADE_UNLESS_BLOCKED) {
        return Optional.empty();
      } else {
        throw corrupt(path, next + " is no folder");
      }
    }
    if (!at.equals(path)) {
      if (aliases.size() >= 16 * OPEN_FOLDERS) {
        aliases.clear();
      }
      aliases.put(path, at);
    }
    return Optional.of(realFolder(at));
  }

  private static int length(Deque<String> parts) {
    int length = 0;
    for (String part : parts) {
      length += part.length() + 1;
    }
    return length;
  }

  private static Deque<String> parts(String path) {
    Deque<String> parts = new ArrayDeque<>();
    for (String part : path.split("/")) {
      if (!part.isEmpty() && !part.equals(".")) {
        parts.add(part);
      }
    }
    return parts;
  }

  /** A folder by a path known to be real; opened anew when it was closed meanwhile. */
  private Folder realFolder(String path) {
    Folder folder = open.get(path);
    return folder != null
        ? folder
        : openReal(path).orElseThrow(() -> corrupt(path, "it was moved away meanwhile"));
  }

  @SuppressWarnings("MustBeClosedChecker") // goes into the open folders
  private Optional<Folder> openReal(String path) {
    try {
      return Optional.of(keep(new Folder(tree.openRealDirectory(path), path)));
    } catch (ErrnoException e) {
      if (e.is(Errno.ENOENT) || e.is(Errno.ENOTDIR) || e.is(Errno.ELOOP)) {
        return Optional.empty();
      }
      throw e;
    }
  }

  @SuppressWarnings("MustBeClosedChecker") // goes into the open folders
  private Fd openChild(Folder folder, String name) {
    return tree.openChild(folder.fd(), name);
  }

  private Folder keep(Folder folder) {
    open.put(folder.path(), folder);
    if (open.size() > OPEN_FOLDERS) {
      var oldest = open.entrySet().iterator();
      oldest.next().getValue().fd().close();
      oldest.remove();
    }
    return folder;
  }

  private void makeImplied(Folder folder, String name, String path) {
    tree.makeDirectory(folder.fd(), name, 0755);
    Folder made = keep(new Folder(openChild(folder, name), path));
    tree.setMode(made.fd(), 0755); // whatever the umask
    tree.setOwner(made.fd(), 0, 0); // whatever a setgid folder above passes on
    notes.implied.add(path);
    if (!notes.links.isEmpty()) {
      notes.links.remove(path);
    }
  }

  /** Hides what lower layers have in a folder. */
  void makeOpaque(Folder folder) {
    if (hasParent) {
      tree.setXattr(folder.fd(), ".", OPAQUE, YES);
      notes.opaque.add(folder.path());
    }
  }

  /**
   * Makes room for an entry that replaces whatever has its name.
   *
   * @return what was there
   */
  Optional<RootedTree.Stat> clear(Folder folder, String name) {
    Optional<RootedTree.Stat> found = tree.find(folder.fd(), name);
    found.ifPresent(stat -> remove(folder, name, stat));
    return found;
  }

  private void remove(Folder folder, String name, RootedTree.Stat stat) {
    if (stat.isDirectory()) {
      String path = LayerPath.join(folder.path(), name);
      closeFolders(path);
      FileTree.delete(tree, folder.fd(), name);
      notes.forget(path);
    } else {
      tree.removeFile(folder.fd(), name);
    }
    if (stat.isDirectory() || stat.isSymlink()) {
      aliases.clear();
    }
  }

  private void closeFolders(String path) {
    open.values()
        .removeIf(folder -> {
          boolean inside = folder.path().equals(path) || folder.path().startsWith(path + "/");
          if (inside) {
            folder.fd().close();
          }
          return inside;
        });
  }

  /** Forgets open folders and links after a change that wasn't made through this object. */
  void forgetOpen() {
    open.values().forEach(folder -> folder.fd().close());
    open.clear();
    aliases.clear();
  }

  static boolean isWhiteout(RootedTree.Stat stat) {
    return (stat.mode() & S_IFMT) == S_IFCHR && stat.rdev() == 0;
  }

  static boolean isOverlayAttribute(String attribute) {
    return attribute.startsWith("trusted.overlay.");
  }

  private static ImageException corrupt(String path, String why) {
    return new ImageException(Reason.CORRUPT, "path " + path + " can't be followed: " + why);
  }

  @Override
  public void close() {
    forgetOpen();
    tree.close();
  }
}
