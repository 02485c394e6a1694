package io.berth.image;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * What has to be remembered about a layer's tree beyond the tree itself. Paths are real ones in the
 * draft: clean, relative, without links; the root is the empty path.
 */
final class LayerNotes {
  /** Folders that were made because something lies in them, and that no entry describes. */
  final SortedSet<String> implied = new TreeSet<>();

  /** Folders whose content in lower layers is hidden; so nothing below them comes from there. */
  final SortedSet<String> opaque = new TreeSet<>();

  /**
   * Seconds and nanoseconds for the described folders, to be set when nothing more changes in them.
   */
  final SortedMap<String, long[]> times = new TreeMap<>();

  /**
   * Hard links whose target isn't in this layer: link to target, each a path whose folder was real
   * when noted.
   */
  final Map<String, String> links = new LinkedHashMap<>();

  /** Folders that have whiteouts, or had some. */
  final SortedSet<String> whitedOut = new TreeSet<>();

  LayerNotes() {
    implied.add("");
  }

  /** Forgets a folder and everything in it. */
  void forget(String folder) {
    implied.remove(folder);
    opaque.remove(folder);
    times.remove(folder);
    whitedOut.remove(folder);
    // '0' is the character after '/': between the two is everything that begins with "folder/".
    implied.subSet(folder + "/", folder + "0").clear();
    opaque.subSet(folder + "/", folder + "0").clear();
    times.subMap(folder + "/", folder + "0").clear();
    whitedOut.subSet(folder + "/", folder + "0").clear();
    if (!links.isEmpty()) {
      links.keySet().removeIf(link -> link.startsWith(folder + "/"));
    }
  }

  /**
   * Whether an entry at this path hides what lower layers have there, because a folder above it
   * does.
   */
  boolean isHiddenAbove(String path) {
    if (opaque.isEmpty() || path.isEmpty()) {
      return false;
    }
    if (opaque.contains("")) {
      return true;
    }
    for (int slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1)) {
      if (opaque.contains(path.substring(0, slash))) {
        return true;
      }
    }
    return false;
  }
}
