package io.berth.image;

import java.util.ArrayList;
import java.util.List;

/** Paths in a layer: relative, parts joined by one slash, the root empty. */
final class LayerPath {
  private LayerPath() {}

  /**
   * The clean form of a name in an archive: neither {@code .} nor {@code ..}, which end at the
   * root.
   */
  static String clean(String name) {
    if (isClean(name)) {
      return name;
    }
    List<String> parts = new ArrayList<>();
    for (String part : name.split("/")) {
      if (part.equals("..")) {
        if (!parts.isEmpty()) {
          parts.removeLast();
        }
      } else if (!part.isEmpty() && !part.equals(".")) {
        parts.add(part);
      }
    }
    return String.join("/", parts);
  }

  private static boolean isClean(String name) {
    int start = 0;
    while (true) {
      int slash = name.indexOf('/', start);
      int length = (slash < 0 ? name.length() : slash) - start;
      if (length == 0
          || (name.charAt(start) == '.'
              && (length == 1 || (length == 2 && name.charAt(start + 1) == '.')))) {
        return false;
      }
      if (slash < 0) {
        return true;
      }
      start = slash + 1;
    }
  }

  static String folder(String path) {
    int slash = path.lastIndexOf('/');
    return slash < 0 ? "" : path.substring(0, slash);
  }

  static String name(String path) {
    return path.substring(path.lastIndexOf('/') + 1);
  }

  static String join(String folder, String name) {
    return folder.isEmpty() ? name : folder + "/" + name;
  }
}
