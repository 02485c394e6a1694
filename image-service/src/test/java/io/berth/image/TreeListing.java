package io.berth.image;

import io.berth.linux.Fd;
import io.berth.linux.RootedTree;
import io.berth.oci.Digest;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** What two trees are compared by: everything that tar keeps, a line for each path. */
final class TreeListing {
  /** Bytes of a file that are compared: some have holes beyond any memory. */
  private static final int MOST = 64 << 20;

  private final RootedTree tree;
  private final Map<String, String> lines = new TreeMap<>();

  /** The paths of each file that isn't a folder, by inode. */
  private final Map<Long, List<String>> paths = new HashMap<>();

  /** Times after this second are told as "now". */
  private final long now;

  private TreeListing(RootedTree tree, long now) {
    this.tree = tree;
    this.now = now;
  }

  /** Type, mode, owner, time, links, content, holes aside, and attributes below these members. */
  static Map<String, String> of(Path root, String... members) throws IOException {
    try (RootedTree tree = RootedTree.open(root)) {
      TreeListing listing = new TreeListing(tree, Long.MAX_VALUE);
      for (String member : members) {
        int slash = member.lastIndexOf('/');
        try (Fd parent = tree.openDirectory(slash < 0 ? "" : member.substring(0, slash))) {
          listing.add(parent, member.substring(slash + 1), member);
        }
      }
      return listing.linked();
    }
  }

  /** Of everything below the root, and of the root itself. */
  static Map<String, String> ofAll(Path root) throws IOException {
    return ofAll(root, Long.MAX_VALUE);
  }

  /**
   * @param now seconds since the epoch: what was made later, such as folders that no archive
   *     describes, isn't compared by its time
   */
  static Map<String, String> ofAll(Path root, long now) throws IOException {
    try (RootedTree tree = RootedTree.open(root);
        Fd folder = tree.openDirectory("")) {
      TreeListing listing = new TreeListing(tree, now);
      listing.lines.put("", listing.describe(folder, ".", tree.stat(folder, "")));
      listing.addContent(folder, "");
      return listing.linked();
    }
  }

  private void add(Fd folder, String name, String path) throws IOException {
    RootedTree.Stat stat = tree.stat(folder, name);
    lines.put(path, describe(folder, name, stat));
    if (!stat.isDirectory()) {
      paths.computeIfAbsent(stat.inode(), _ -> new ArrayList<>()).add(path);
    } else {
      try (Fd child = tree.openChild(folder, name)) {
        addContent(child, path + "/");
      }
    }
  }

  private void addContent(Fd folder, String prefix) throws IOException {
    for (RootedTree.Entry entry : tree.list(folder)) {
      add(folder, entry.name(), prefix + entry.name());
    }
  }

  /** The count of links isn't compared: overlayfs tells that of the layer. */
  private Map<String, String> linked() {
    for (List<String> same : paths.values()) {
      if (same.size() > 1) {
        String first = same.stream().sorted().findFirst().orElseThrow();
        same.forEach(path -> lines.merge(path, " same as " + first, String::concat));
      }
    }
    return lines;
  }

  private String describe(Fd folder, String name, RootedTree.Stat stat) throws IOException {
    StringBuilder line =
        new StringBuilder(
            "%o %d:%d %s"
                .formatted(
                    stat.mode(),
                    stat.uid() & 0xffffffffL,
                    stat.gid() & 0xffffffffL,
                    stat.mtimeSeconds() > now
                        ? "now"
                        : stat.mtimeSeconds() + "." + stat.mtimeNanos()));
    if (stat.isRegular()) {
      line.append(" size ").append(stat.size());
      try (Fd file = tree.openFile(folder, name);
          InputStream content = Files.newInputStream(file.procPath())) {
        line.append(' ').append(Digest.sha256(content.readNBytes(MOST)).abbreviated());
      }
    } else if (stat.isSymlink()) {
      line.append(" to ").append(tree.readLink(folder, name));
    } else if (!stat.isDirectory()) {
      line.append(" device ").append(stat.major()).append(':').append(stat.minor());
    }
    for (String xattr : tree.listXattrs(folder, name).stream().sorted().toList()) {
      line.append(' ')
          .append(xattr)
          .append('=')
          .append(Arrays.toString(tree.getXattr(folder, name, xattr).orElseThrow()));
    }
    return line.toString();
  }
}
