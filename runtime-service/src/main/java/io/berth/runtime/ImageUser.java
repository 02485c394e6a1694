package io.berth.runtime;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.berth.linux.RootedTree;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.SandboxSecurity.GroupsPolicy;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Whom a container runs as: the request's user, else the image's, looked up in the image's own
 * passwd(5) and group(5). Those files are written by strangers: they are read up to a limit, and
 * lines that don't parse are passed over. A string of digits is always a number, never a name.
 */
final class ImageUser {
  private static final String PASSWD = "etc/passwd";
  private static final String GROUP = "etc/group";
  private static final int LONGEST_FILE = 1 << 20;

  /** Larger ids are negative for programs that keep them in 32 bits; (uid_t) -1 means "nobody". */
  private static final long LARGEST_ID = Integer.MAX_VALUE;

  private static final int NGROUPS_MAX = 65536;
  private static final Pattern NUMBER = Pattern.compile("[0-9]+");

  private final RootedTree rootfs;

  private ImageUser(RootedTree rootfs) {
    this.rootfs = rootfs;
  }

  /**
   * What the kernel is to be told.
   *
   * @param additionalGids the primary group first, each once
   */
  record Resolved(long uid, long gid, List<Long> additionalGids) {
    Resolved {
      additionalGids = List.copyOf(additionalGids);
    }
  }

  private record Account(String name, long uid, long gid) {}

  /**
   * Resolves the user. {@code HOME} isn't part of it: runc and crun take it from the container's
   * passwd when the environment has none.
   *
   * @param rootfs the container's root, with the image in it
   * @param imageUser {@code name[:group]}, {@code uid[:gid]} or "" for root
   * @throws ContainerException INVALID, when a name isn't in the image or a number is out of range
   */
  static Resolved resolve(RootedTree rootfs, ContainerConfig.Security security, String imageUser) {
    String byName = security.runAsUsername();
    Long byNumber = security.runAsUser();
    if (security.runAsGroup() != null && byNumber == null && byName.isEmpty()) {
      throw refuse(
          "group " + security.runAsGroup(), "run_as_group needs run_as_user or run_as_username");
    }
    String wanted = imageUser;
    if (!byName.isEmpty()) {
      wanted = byName;
    } else if (byNumber != null) {
      wanted = Long.toString(checked(byNumber, "run_as_user"));
    }
    return new ImageUser(rootfs).resolve(wanted, security);
  }

  private Resolved resolve(String wanted, ContainerConfig.Security security) {
    if (wanted.chars().anyMatch(Character::isISOControl)) {
      throw refuse("user", "it holds control characters");
    }
    int colon = wanted.indexOf(':');
    String user = colon < 0 ? wanted : wanted.substring(0, colon);
    String group = colon < 0 ? "" : wanted.substring(colon + 1);
    if (group.indexOf(':') >= 0) {
      throw refuse("user \"" + wanted + "\"", "write name[:group] or uid[:gid]");
    }

    OptionalLong number = number(user.isEmpty() ? "0" : user, "user");
    Account account =
        number.isPresent()
            ? account(a -> a.uid() == number.getAsLong())
            : account(a -> a.name().equals(user));
    if (number.isEmpty() && account == null) {
      throw refuse(
          "user \"" + user + "\"",
          "the image's /etc/passwd has no such name; give a number instead");
    }
    long uid = account == null ? number.getAsLong() : account.uid();
    long gid;
    if (security.runAsGroup() != null) {
      gid = checked(security.runAsGroup(), "run_as_group");
    } else if (!group.isEmpty()) {
      gid = gid(group);
    } else {
      gid = account == null ? 0 : account.gid();
    }
    return new Resolved(uid, gid, groups(gid, account, security));
  }

  private List<Long> groups(
      long primary, @Nullable Account account, ContainerConfig.Security security) {
    Set<Long> groups = new LinkedHashSet<>();
    groups.add(primary);
    if (account != null && security.supplementalGroupsPolicy() == GroupsPolicy.MERGE) {
      forEachLine(
          GROUP,
          line -> {
            String[] fields = line.split(":", 4);
            OptionalLong gid = fields.length == 4 ? id(fields[2]) : OptionalLong.empty();
            if (gid.isPresent() && ("," + fields[3] + ",").contains("," + account.name() + ",")) {
              groups.add(gid.getAsLong());
            }
            return false;
          });
    }
    security.supplementalGroups().forEach(gid -> groups.add(checked(gid, "supplemental_groups")));
    if (groups.size() > NGROUPS_MAX) {
      throw refuse(
          "the " + groups.size() + " groups", "the kernel takes " + NGROUPS_MAX + "; list fewer");
    }
    return List.copyOf(groups);
  }

  /** The first that matches: later lines of the same name or number mean nothing, as in libc. */
  private @Nullable Account account(Predicate<Account> wanted) {
    Account[] found = new Account[1];
    forEachLine(
        PASSWD,
        line -> {
          String[] fields = line.split(":", 7);
          if (fields.length < 4 || fields[0].isEmpty()) {
            return false;
          }
          OptionalLong uid = id(fields[2]);
          OptionalLong gid = id(fields[3]);
          if (uid.isEmpty() || gid.isEmpty()) {
            return false;
          }
          Account account = new Account(fields[0], uid.getAsLong(), gid.getAsLong());
          if (!wanted.test(account)) {
            return false;
          }
          found[0] = account;
          return true;
        });
    return found[0];
  }

  private long gid(String group) {
    OptionalLong number = number(group, "group");
    if (number.isPresent()) {
      return number.getAsLong();
    }
    long[] found = {-1};
    forEachLine(
        GROUP,
        line -> {
          String[] fields = line.split(":", 4);
          if (fields.length < 3 || !fields[0].equals(group)) {
            return false;
          }
          id(fields[2]).ifPresent(gid -> found[0] = gid);
          return found[0] >= 0;
        });
    if (found[0] < 0) {
      throw refuse(
          "group \"" + group + "\"",
          "the image's /etc/group has no such name; give a number instead");
    }
    return found[0];
  }

  /** Goes on until the visitor returns true. A file that doesn't exist has no lines. */
  private void forEachLine(String file, Predicate<String> visitor) {
    byte[] bytes = rootfs.readFile(file, LONGEST_FILE + 1).orElse(new byte[0]);
    if (bytes.length > LONGEST_FILE) {
      throw refuse(
          "the user",
          "the image's /" + file + " is longer than " + LONGEST_FILE + " bytes; use another image");
    }
    int start = 0;
    while (start < bytes.length) {
      int end = start;
      while (end < bytes.length && bytes[end] != '\n') {
        end++;
      }
      if (visitor.test(new String(bytes, start, end - start, UTF_8).strip())) {
        return;
      }
      start = end + 1;
    }
  }

  /** A string of digits as a number; empty when it is a name. */
  private static OptionalLong number(String text, String what) {
    if (!NUMBER.matcher(text).matches()) {
      return OptionalLong.empty();
    }
    OptionalLong id = id(text);
    if (id.isEmpty()) {
      throw outOfRange(what + " " + text);
    }
    return id;
  }

  private static OptionalLong id(String text) {
    String digits = text.replaceFirst("^0+(?=.)", "");
    if (digits.length() > 10 || !NUMBER.matcher(digits).matches()) {
      return OptionalLong.empty();
    }
    long id = Long.parseLong(digits);
    return id > LARGEST_ID ? OptionalLong.empty() : OptionalLong.of(id);
  }

  private static long checked(long id, String field) {
    if (id < 0 || id > LARGEST_ID) {
      throw outOfRange(field + " " + id);
    }
    return id;
  }

  private static ContainerException outOfRange(String what) {
    return refuse(what, "ids go from 0 to " + LARGEST_ID);
  }

  private static ContainerException refuse(String what, String why) {
    return new ContainerException(
        Reason.INVALID, "resolve " + what + " of the container to be created: " + why);
  }
}
