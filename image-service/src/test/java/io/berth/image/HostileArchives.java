package io.berth.image;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Archives that no tar program would write, each a case of {@link HostileArchivesTest}. A new one
 * is one line here.
 */
final class HostileArchives {
  private static final String UP = "../".repeat(40);

  private final List<Case> cases = new ArrayList<>();
  private final String canary;
  private final String secret;

  /**
   * One image.
   *
   * @param layers bottom first
   * @param refusal a part of the message with which the last layer is refused; absent: unpacked
   * @param tree the names in the merged tree: folders end with a slash, links with their target,
   *     files with their content; absent: whatever comes of it
   */
  record Case(
      String name, List<byte[]> layers, @Nullable String refusal, @Nullable List<String> tree) {
    @Override
    public String toString() {
      return name;
    }
  }

  private HostileArchives(Path canary) {
    this.canary = canary.toString();
    this.secret = this.canary + "/secret";
  }

  /**
   * @param canary a folder of the machine that holds a file {@code secret} and a folder {@code sub}
   */
  static List<Case> all(Path canary) {
    HostileArchives all = new HostileArchives(canary);
    all.linksOut();
    all.namesOut();
    all.whiteouts();
    all.links();
    all.forms();
    all.replacements();
    return all.cases;
  }

  private static TarBuilder tar() {
    return new TarBuilder();
  }

  private static TarBuilder base() {
    return tar().file("d/old", "old").file("f", "below");
  }

  private void unpacked(String name, List<String> tree, TarBuilder... layers) {
    cases.add(new Case(name, built(layers), null, tree));
  }

  /** Nothing is said of what comes of it. */
  private void harmless(String name, TarBuilder... layers) {
    cases.add(new Case(name, built(layers), null, null));
  }

  private void refused(String name, String refusal, TarBuilder... layers) {
    cases.add(new Case(name, built(layers), refusal, null));
  }

  private void refused(String name, String refusal, byte[] layer) {
    cases.add(new Case(name, List.of(layer), refusal, null));
  }

  private static List<byte[]> built(TarBuilder... layers) {
    List<byte[]> archives = new ArrayList<>();
    for (TarBuilder layer : layers) {
      archives.add(layer.build());
    }
    return archives;
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  // Links that lead to the machine

  private void linksOut() {
    harmless("file behind a link", tar().symlink("l", canary).file("l/secret", "x"));
    harmless(
        "file behind a relative link",
        tar().symlink("a/l", UP + canary.substring(1)).file("a/l/secret", "x"));
    harmless(
        "file behind three links",
        tar().symlink("1", "2").symlink("2", "/3").symlink("3", canary).file("1/secret", "x"));
    harmless("folder behind a link", tar().symlink("l", canary).mode(0777).folder("l/sub"));
    harmless(
        "folder that becomes a link",
        tar()
            .file("d/x", "1")
            .symlink("d", canary)
            .file("d/secret", "x")
            .mode(0777)
            .folder("d/sub"));
    unpacked(
        "folder in a link's place",
        List.of("l/", "l/secret=x"),
        tar().symlink("l", canary).mode(0777).owner(5, 5).folder("l").file("l/secret", "x"));
    unpacked(
        "file in a link's place",
        List.of("l=x"),
        tar().symlink("l", secret).mode(0777).file("l", "x"));
    unpacked(
        "device in a link's place",
        List.of("l c1:3"),
        tar().symlink("l", secret).device(1, 3).entry('3', "l", "", new byte[0]));
    unpacked(
        "pipe in a link's place",
        List.of("l p0:0"),
        tar().symlink("l", secret).entry('6', "l", "", new byte[0]));
    harmless("link with owner and time", tar().owner(7, 7).mtime(7).symlink("l", secret));
    harmless("link with attributes", tar().pax("SCHILY.xattr.trusted.x", "1").symlink("l", secret));
    harmless("link of the layer below", base().symlink("l", canary), tar().file("l/secret", "x"));
    harmless(
        "described folder behind a link of the layer below",
        base().symlink("l", canary),
        tar().mode(0777).folder("l/sub"));
    harmless(
        "whiteout behind a link of the layer below",
        base().symlink("l", canary),
        tar().file("l/.wh.secret", ""));
    harmless(
        "opaque folder behind a link of the layer below",
        base().symlink("l", canary),
        tar().file("l/.wh..wh..opq", "").file("l/sub/x", "1"));
    harmless(
        "link of the layer below to a link of this one",
        base().symlink("l", "/m"),
        tar().symlink("m", canary).file("l/secret", "x"));
    harmless(
        "links that meet over three layers",
        base().symlink("l", "m"),
        tar().symlink("m", "n/sub"),
        tar().symlink("n", canary).file("l/x", "1"));
    harmless(
        "folder of the layer below that becomes a link",
        base(),
        tar().symlink("d", canary).file("d/secret", "x"));
    harmless(
        "link into /proc", tar().symlink("l", "/proc/self/root" + canary).file("l/secret", "x"));
    harmless(
        "links of links",
        tar().symlink("a", "b/../" + UP + "etc").symlink("b", ".").file("a/passwd", "x"));
    refused(
        "circle of links",
        "symbolic links",
        tar().symlink("a", "b").symlink("b", "a").file("a/x", "1"));
    refused("link to nothing", "symbolic link to nothing", tar().symlink("l", ""));
    refused("links that multiply", "can't be followed", multiplying());
  }

  /** Each link leads twice over the one before: 2^30 steps. */
  private static TarBuilder multiplying() {
    TarBuilder tar = tar().folder("0");
    for (int i = 1; i <= 30; i++) {
      tar.symlink(Integer.toString(i), (i - 1) + "/../" + (i - 1));
    }
    return tar.file("30/x", "1");
  }

  // Names that lead out

  private void namesOut() {
    unpacked("name with dots", List.of("x=1"), tar().file(UP + "x", "1"));
    unpacked("absolute name", List.of("x=1"), tar().file("/x", "1"));
    unpacked("many slashes", List.of("a/", "a/x=1"), tar().file("////a//./x", "1"));
    unpacked("dots within", List.of("x=1"), tar().file("a/b/../../../x", "1"));
    harmless("the machine's own name", tar().file(secret, "x").mode(0777).folder(canary));
    harmless("dots behind a link", tar().symlink("l", canary + "/sub").file("l/../secret", "x"));
    harmless("folder of dots", tar().mode(0700).owner(9, 9).folder(UP));
    refused("root that is a file", "the root can only be a folder", tar().file("..", "x"));
    refused("root that is a link", "the root can only be a folder", tar().symlink("/", canary));
    refused("name with a NUL", "NUL", tar().pax("path", "a\0b").file("x", ""));
    unpacked(
        "name of a line",
        List.of("a\nb=1", "\\x=2", "*=3"),
        tar().file("a\nb", "1").file("\\x", "2").file("*", "3"));
    harmless("empty name", tar().folder(""));
    refused("name that is too long for a file", "ENAMETOOLONG", tar().file("n".repeat(256), "x"));
    refused(
        "path that is too long",
        "at most 4095 are allowed",
        tar().file("n/".repeat(2048) + "x", "x"));
  }

  // Whiteouts

  private void whiteouts() {
    unpacked("of a file", List.of("d/", "d/old=old"), base(), tar().file(".wh.f", ""));
    unpacked("of a folder", List.of("f=below"), base(), tar().file(".wh.d", ""));
    unpacked("of nothing", List.of("d/", "d/old=old", "f=below"), base(), tar().file(".wh.x", ""));
    unpacked(
        "in a folder that is new",
        List.of("d/", "d/old=old", "f=below", "n/"),
        base(),
        tar().file("n/.wh.x", ""));
    unpacked(
        "of a folder, which comes again",
        List.of("d/", "d/new=1", "f=below"),
        base(),
        tar().file(".wh.d", "").file("d/new", "1"));
    unpacked(
        "of a folder, after it came again",
        List.of("d/", "d/new=1", "f=below"),
        base(),
        tar().file("d/new", "1").file(".wh.d", ""));
    unpacked("that is a folder", List.of("d/", "d/old=old"), base(), tar().folder(".wh.f"));
    unpacked("that is a link", List.of("d/", "d/old=old"), base(), tar().symlink(".wh.f", secret));
    unpacked(
        "that is a hard link", List.of("d/", "d/old=old"), base(), tar().link(".wh.f", "d/old"));
    unpacked("with content", List.of("d/", "d/old=old"), base(), tar().file(".wh.f", "content"));
    unpacked(
        "twice", List.of("d/", "d/old=old"), base(), tar().file(".wh.f", "").file(".wh.f", ""));
    harmless("of a whiteout's name", base(), tar().file(".wh.f/.wh.x", "").file("f", "below"));
    unpacked(
        "of aufs's notes",
        List.of("d/", "d/old=old", "f=below"),
        base(),
        tar().file(".wh..wh.f", ""));
    for (String name : List.of(".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..", "d/.wh...")) {
      refused("called " + name, "it is no valid whiteout", base(), tar().file(name, ""));
    }
    unpacked(
        "in a file",
        List.of("d/", "d/old=old", "f=x"),
        base(),
        tar().file("f", "x").file("f/.wh.x", ""));
    harmless("in a file of the layer below", base(), tar().file("f/.wh.x", ""));
    unpacked("opaque root", List.of("n=1"), base(), tar().file(".wh..wh..opq", "").file("n", "1"));
    unpacked(
        "opaque root of the lowest layer",
        List.of("n=1"),
        tar().file(".wh..wh..opq", "").file("n", "1"));
    unpacked(
        "opaque folder",
        List.of("d/", "d/n=1", "f=below"),
        base(),
        tar().file("d/n", "1").file("d/.wh..wh..opq", ""));
    unpacked(
        "opaque and nothing else",
        List.of("d/", "f=below"),
        base(),
        tar().file("d/.wh..wh..opq", ""));
    unpacked(
        "opaque twice",
        List.of("d/", "f=below"),
        base(),
        tar().file("d/.wh..wh..opq", "").folder("d").file("d/.wh..wh..opq", ""));
    unpacked(
        "opaque file",
        List.of("d=x", "f=below"),
        base(),
        tar().file("d", "x").file("d/.wh..wh..opq", ""));
    harmless(
        "device 0:0, which overlayfs takes for one",
        base(),
        tar().device(0, 0).entry('3', "f", "", new byte[0]));
    unpacked(
        "attribute that overlayfs takes for opaque",
        List.of("d/", "d/old=old", "f=below"),
        base(),
        tar().pax("SCHILY.xattr.trusted.overlay.opaque", "y").folder("d"));
    unpacked(
        "attribute of overlayfs for users",
        List.of("d/", "d/old=old", "f=below"),
        base(),
        tar().pax("SCHILY.xattr.user.overlay.opaque", "y").folder("d"));
    unpacked(
        "attribute that overlayfs takes for a whiteout",
        List.of("d/", "d/old=old", "f=x"),
        base(),
        tar().pax("SCHILY.xattr.trusted.overlay.whiteout", "").file("f", "x"));
    unpacked(
        "attribute that leads to another file's data",
        List.of("d/", "d/old=old", "f=x"),
        base(),
        tar()
            .pax("SCHILY.xattr.trusted.overlay.metacopy", "")
            .pax("SCHILY.xattr.trusted.overlay.redirect", "/d/old")
            .file("f", "x"));
    harmless(
        "escaped attribute of overlayfs",
        base(),
        tar().pax("SCHILY.xattr.trusted.overlay.overlay.opaque", "y").folder("d"));
  }

  // Hard links

  private void links() {
    refused("to the machine", "not in the image", tar().link("l", secret));
    refused(
        "by dots to the machine", "not in the image", tar().link("l", UP + secret.substring(1)));
    refused(
        "behind a link to the machine",
        "not in the image",
        tar().symlink("s", canary).link("l", "s/secret"));
    refused(
        "of an upper layer to the machine", "not in the image", base(), tar().link("l", secret));
    refused(
        "behind a lower layer's link to the machine",
        "not in the image",
        base().symlink("s", canary),
        tar().link("l", "s/secret"));
    unpacked(
        "to a link, then written",
        List.of("l=x", "s->" + secret),
        tar().symlink("s", secret).link("l", "s").file("l", "x"));
    unpacked(
        "to a link of the layer below",
        List.of("d/", "d/old=old", "f=below", "l->" + secret, "s->" + secret),
        base().symlink("s", secret),
        tar().link("l", "s"));
    unpacked(
        "to a file below",
        List.of("d/", "d/old=old", "f=below", "l=below"),
        base(),
        tar().link("l", "f"));
    unpacked(
        "to a file below, out and in again",
        List.of("d/", "d/old=old", "f=below", "l=below"),
        base(),
        tar().link("l", UP + "d/../f"));
    unpacked("to itself", List.of("f=x"), tar().file("f", "x").link("f", "./f"));
    refused("to a folder", "which is a folder", tar().folder("d").link("l", "d"));
    refused("to a folder below", "which is a folder", base(), tar().link("l", "d"));
    refused("to the root", "hard link to the root", tar().link("l", "/"));
    refused(
        "to what this layer removes",
        "which is removed",
        base(),
        tar().file(".wh.f", "").link("l", "f"));
    refused("to what comes later", "not in the image", tar().link("l", "f").file("f", "x"));
    refused("in a circle", "not in the image", base(), tar().link("a", "b").link("b", "a"));
    unpacked(
        "to a link",
        List.of("d/", "d/old=old", "f=below", "k=below", "l=below"),
        base(),
        tar().link("k", "f").link("l", "k"));
    harmless("into a folder that it replaces", tar().file("d/x", "1").link("d", "d/x"));
    unpacked(
        "to a pipe",
        List.of("l p0:0", "p p0:0"),
        tar().entry('6', "p", "", new byte[0]).link("l", "p"));
    unpacked(
        "to a device below",
        List.of("c c1:3", "d/", "d/old=old", "f=below", "l c1:3"),
        base().device(1, 3).entry('3', "c", "", new byte[0]),
        tar().link("l", "c"));
    unpacked(
        "with content",
        List.of("f=x", "l=x"),
        tar().file("f", "x").entry('1', "l", "f", new byte[0]));
  }

  // Forms of headers

  private void forms() {
    refused("unknown kind", "unknown type 'M'", tar().entry('M', "x", "", new byte[0]));
    refused("no archive at all", "checksum", "<html>".repeat(200).getBytes(StandardCharsets.UTF_8));
    refused(
        "end within a header",
        "the archive ends",
        Arrays.copyOf(tar().file("a", "x").build(), 300));
    refused(
        "end within a file",
        "the archive ends",
        Arrays.copyOf(tar().file("a", "x".repeat(5000)).build(), 3000));
    refused(
        "end after an extended header",
        "between an extended header",
        tar().header('L', bytes("p"), new byte[0], 2).content(bytes("a\0")).unfinished());
    refused(
        "size beyond any disk",
        "more than",
        tar().header('0', bytes("a"), new byte[0], 1L << 62).build());
    refused(
        "negative size", "negative size", tar().header('0', bytes("a"), new byte[0], -1).build());
    refused(
        "impossible size",
        "impossible size",
        tar().header('0', bytes("a"), new byte[0], Long.MAX_VALUE).build());
    refused(
        "size beyond any disk of a whiteout",
        "more than",
        tar().header('0', bytes(".wh.a"), new byte[0], 1L << 61).build());
    refused(
        "size beyond any disk of an aufs note",
        "more than",
        tar().header('0', bytes(".wh..wh.a"), new byte[0], 1L << 61).build());
    refused(
        "size beyond any disk of a global header",
        "at most",
        tar().header('g', bytes("a"), new byte[0], 1L << 61).build());
    refused(
        "size beyond any disk of a label",
        "at most",
        tar().header('V', bytes("a"), new byte[0], 1L << 61).build());
    refused(
        "size in words",
        "size of an extended header is no number",
        tar().pax("size", "many").file("a", "x"));
    refused(
        "negative size in an extended header",
        "negative size",
        tar().pax("size", "-1").file("a", "x"));
    refused("owner in words", "no number", tar().pax("uid", "root").file("a", "x"));
    refused(
        "owner beyond 32 bits",
        "no user or group id",
        tar().pax("uid", "4294967296").file("a", "x"));
    refused(
        "owner that means nobody is changed",
        "no user or group id",
        tar().owner(4294967295L, 0).file("a", "x"));
    refused("time in words", "no number", tar().pax("mtime", "noon").file("a", "x"));
    harmless(
        "time beyond the end of time",
        tar().pax("mtime", Long.toString(Long.MAX_VALUE)).file("a", "x"));
    harmless(
        "time before the beginning",
        tar()
            .pax("mtime", Long.toString(Long.MIN_VALUE))
            .file("a", "x")
            .mtime(Long.MIN_VALUE / 256)
            .folder("d"));
    refused(
        "extended header without a blank",
        "malformed",
        tar().header('x', bytes("p"), new byte[0], 4).content(bytes("4a=b")));
    refused(
        "extended header that is longer than itself",
        "malformed",
        tar().header('x', bytes("p"), new byte[0], 8).content(bytes("99 a=bc\n")));
    refused(
        "extended header of length 0",
        "malformed",
        tar().header('x', bytes("p"), new byte[0], 6).content(bytes("0 a=b\n")));
    refused(
        "extended header of a gigabyte",
        "at most",
        tar().header('x', bytes("p"), new byte[0], 1L << 30).build());
    refused(
        "long name of a gigabyte",
        "at most",
        tar().header('L', bytes("p"), new byte[0], 1L << 30).build());
    refused(
        "long link of a gigabyte",
        "at most",
        tar().header('K', bytes("p"), new byte[0], 1L << 30).build());
    harmless("attribute without a name", tar().pax("SCHILY.xattr.", "x").file("a", "x"));
    harmless("attribute without a namespace", tar().pax("SCHILY.xattr.x", "x").file("a", "x"));
    harmless(
        "attribute that is too large",
        tar().pax("SCHILY.xattr.user.x", new byte[70_000]).file("a", "x"));
    harmless(
        "attribute whose name is too long",
        tar().pax("SCHILY.xattr.user." + "n".repeat(300), "x").file("a", "x"));
    harmless(
        "attribute with a NUL in its name",
        tar().pax("SCHILY.xattr.user.a\0b", "x").file("a", "x"));
    unpacked(
        "attribute of a link",
        List.of("l->x"),
        tar().pax("SCHILY.xattr.user.x", "1").symlink("l", "x"));
    unpacked("setuid, setgid and sticky", List.of("a=x"), tar().mode(07777).file("a", "x"));
    unpacked("checksum of signed bytes", List.of("\u00e4=1"), tar().file("\u00e4", "1"));
    cases.add(
        new Case(
            "an end, and then more",
            List.of(TestImage.join(tar().file("a", "1").build(), tar().file("b", "2").build())),
            null,
            List.of("a=1")));
    refused("sparse map beyond its file", "doesn't fit", sparse("0,1,99,1", "10", "xx"));
    refused("sparse map that overlaps", "doesn't fit", sparse("0,2,1,2", "10", "xxxx"));
    refused("sparse map of half a piece", "doesn't fit", sparse("0,2,4", "10", "xx"));
    refused("sparse map with negative numbers", "doesn't fit", sparse("-2,2", "10", "xx"));
    refused("sparse map in words", "no number", sparse("a,b", "10", "xx"));
    refused("sparse map of more than is there", "doesn't fit", sparse("0,5", "10", "xx"));
    harmless("sparse file beyond any disk", sparse("0,2", Long.toString(Long.MAX_VALUE), "xx"));
    refused("sparse file of negative size", "doesn't fit", sparse("0,2", "-5", "xx"));
    refused(
        "sparse map that begins with a length",
        "begins with a length",
        tar().pax("GNU.sparse.size", "5").pax("GNU.sparse.numbytes", "5").file("s", "xxxxx"));
    refused(
        "sparse map in the content, in words",
        "sparse map is malformed",
        tar().pax("GNU.sparse.major", "1").pax("GNU.sparse.realsize", "5").file("s", "many\n"));
    refused(
        "sparse map of a billion pieces",
        "sparse map",
        tar()
            .pax("GNU.sparse.major", "1")
            .pax("GNU.sparse.realsize", "5")
            .file("s", "1000000000\n1\n1\n"));
    harmless(
        "sparse name that leads out",
        tar()
            .pax("GNU.sparse.major", "1")
            .pax("GNU.sparse.realsize", "1")
            .pax("GNU.sparse.name", UP + secret.substring(1))
            .file("s", "1\n0\n1\n" + "\0".repeat(506) + "x"));
  }

  private static TarBuilder sparse(String map, String size, String content) {
    return tar().pax("GNU.sparse.map", map).pax("GNU.sparse.size", size).file("s", content);
  }

  // What replaces what: each kind over each other one, in one layer and in two

  /** A kind of entry called x, and what a tree shows of it. */
  private record Kind(String name, Consumer<TarBuilder> add, List<String> shown) {
    boolean isFolder() {
      return shown.contains("x/");
    }
  }

  private static final List<Kind> KINDS =
      List.of(
          new Kind("file", t -> t.file("x", "1"), List.of("x=1")),
          new Kind("empty folder", t -> t.folder("x"), List.of("x/")),
          new Kind("folder", t -> t.folder("x").file("x/in", "2"), List.of("x/", "x/in=2")),
          new Kind("link to nothing", t -> t.symlink("x", "nowhere"), List.of("x->nowhere")),
          new Kind("link to a folder", t -> t.symlink("x", "t"), List.of("x->t")),
          new Kind("hard link", t -> t.link("x", "h"), List.of("x=hard")),
          new Kind("pipe", t -> t.entry('6', "x", "", new byte[0]), List.of("x p0:0")),
          new Kind(
              "device",
              t -> t.device(1, 3).entry('3', "x", "", new byte[0]).device(0, 0),
              List.of("x c1:3")),
          new Kind("whiteout", t -> t.file(".wh.x", ""), List.of()));

  private void replacements() {
    for (Kind first : KINDS) {
      for (Kind second : KINDS) {
        boolean removal = second.name().equals("whiteout");
        List<String> both = new ArrayList<>(List.of("h=hard", "t/", "t/keep=k"));
        both.addAll(second.shown());
        if (first.isFolder() && second.isFolder()) {
          first.shown().stream().filter(line -> !both.contains(line)).forEach(both::add);
        }
        List<String> one = new ArrayList<>(both);
        if (removal) {
          one.addAll(first.shown()); // it speaks of lower layers only
        }
        TarBuilder together = tar().file("h", "hard").file("t/keep", "k");
        first.add().accept(together);
        second.add().accept(together);
        unpacked(second.name() + " after " + first.name(), one, together);

        TarBuilder below = tar().file("h", "hard").file("t/keep", "k");
        first.add().accept(below);
        TarBuilder above = tar();
        second.add().accept(above);
        unpacked(second.name() + " over " + first.name(), both, below, above);
      }
    }
  }
}
