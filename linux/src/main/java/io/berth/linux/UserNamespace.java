package io.berth.linux;

import java.nio.file.Path;
import java.util.List;

/**
 * A user namespace of a pod, user_namespaces(7): where it is pinned and which ids of the machine
 * stand for its own.
 *
 * @param pin names the namespace as long as it is pinned; {@link Namespaces#createOwned} makes it
 */
public record UserNamespace(Path pin, List<Range> uids, List<Range> gids) {
  /** What the kernel shows for an id that isn't mapped, and takes for none. */
  private static final long OVERFLOW = 65534;

  public UserNamespace {
    uids = List.copyOf(uids);
    gids = List.copyOf(gids);
  }

  /** {@code length} ids, seen from {@code inside} on within and from {@code outside} on without. */
  public record Range(long inside, long outside, long length) {}

  /** The machine's id of a user of the namespace. */
  public int uid(long inside) {
    return outside(uids, inside);
  }

  /** The machine's id of a group of the namespace. */
  public int gid(long inside) {
    return outside(gids, inside);
  }

  private static int outside(List<Range> ranges, long inside) {
    for (Range range : ranges) {
      if (inside >= range.inside() && inside - range.inside() < range.length()) {
        return (int) (range.outside() + inside - range.inside());
      }
    }
    return (int) OVERFLOW;
  }

  /** The lines of uid_map or gid_map. */
  static String map(List<Range> ranges) {
    StringBuilder lines = new StringBuilder();
    for (Range range : ranges) {
      lines
          .append(range.inside())
          .append(' ')
          .append(range.outside())
          .append(' ')
          .append(range.length())
          .append('\n');
    }
    return lines.toString();
  }
}
