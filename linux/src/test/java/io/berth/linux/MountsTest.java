package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@Tag("root")
class MountsTest {
  @TempDir Path temporary;
  private Path folder = Path.of("/");
  private Path target = Path.of("/");

  /** On a tmpfs, as an overlay can't lie on another. */
  @BeforeEach
  void setUp() throws Exception {
    Needs.root();
    folder = Files.createDirectory(temporary.resolve("disk"));
    Mounts.tmpfs(folder, "mode=0755", false);
    target = Files.createDirectory(folder.resolve("target"));
  }

  @AfterEach
  void takeDown() {
    for (MountInfo mount : Mounts.table().reversed()) {
      if (mount.target().startsWith(temporary)) {
        Mounts.detach(mount.target());
      }
    }
  }

  enum Way {
    CONTEXT {
      @Override
      void mount(Path target, List<Path> lowers, @Nullable Path upper, @Nullable Path work) {
        Mounts.overlayByContext(target, lowers, upper, work, null);
      }
    },
    MOUNT {
      @Override
      void mount(Path target, List<Path> lowers, @Nullable Path upper, @Nullable Path work) {
        Mounts.overlayByMount(target, lowers, upper, work, null);
      }
    };

    abstract void mount(Path target, List<Path> lowers, @Nullable Path upper, @Nullable Path work);

    /** lowerdir+ came with kernel 6.7. */
    void require() throws IOException {
      String[] release = Files.readString(Path.of("/proc/sys/kernel/osrelease")).split("[.-]", 3);
      int version = Integer.parseInt(release[0]) * 1000 + Integer.parseInt(release[1]);
      Needs.met("kernel 6.7", this == MOUNT || version >= 6007);
    }
  }

  /** Uppermost first; layer i has a file of its own, and all have the file "same". */
  private List<Path> layers(int count, String name) throws IOException {
    List<Path> layers = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      Path layer = Files.createDirectories(folder.resolve("layers/" + name + i));
      Files.writeString(layer.resolve("f" + i), Integer.toString(i));
      Files.writeString(layer.resolve("same"), Integer.toString(i));
      layers.addFirst(layer);
    }
    return layers;
  }

  @ParameterizedTest
  @EnumSource
  void hundredLayersAreOneTreeWithTheUppermostOnTop(Way way) throws Exception {
    way.require();
    // As long as real ones: together far more than the page that mount(2) takes.
    List<Path> layers = layers(100, "0123456789abcdef".repeat(4) + "-");
    Path upper = Files.createDirectory(folder.resolve("upper"));
    way.mount(target, layers, upper, Files.createDirectory(folder.resolve("work")));

    assertThat(target.resolve("same")).hasContent("99");
    assertThat(target.resolve("f0")).hasContent("0");
    Files.writeString(target.resolve("written"), "x");
    Files.delete(target.resolve("f50"));
    assertThat(upper.resolve("written")).hasContent("x");
    assertThat(target.resolve("f50")).doesNotExist();
    assertThat(layers.get(49).resolve("f50")).exists();
  }

  @ParameterizedTest
  @EnumSource
  void colonsCommasAndBlanksInPathsAreNothingSpecial(Way way) throws Exception {
    way.require();
    List<Path> layers = layers(3, "a:b,c=d e");
    Path upper = Files.createDirectory(folder.resolve("up:p,er"));
    way.mount(target, layers, upper, Files.createDirectory(folder.resolve("wo:r,k")));
    assertThat(target.resolve("f0")).hasContent("0");
    Files.writeString(target.resolve("written"), "x");
    assertThat(upper.resolve("written")).hasContent("x");
  }

  @ParameterizedTest
  @EnumSource
  void withoutUpperItIsReadOnly(Way way) throws Exception {
    way.require();
    way.mount(target, layers(2, "l"), null, null);
    assertThat(target.resolve("f1")).hasContent("1");
    assertThatThrownBy(() -> Files.writeString(target.resolve("x"), "x"))
        .hasMessageContaining("Read-only");
  }

  @ParameterizedTest
  @EnumSource
  void missingLayerIsAnErrorThatNamesTheTarget(Way way) throws Exception {
    way.require();
    List<Path> layers = List.of(folder.resolve("none"), folder.resolve("neither"));
    assertThatThrownBy(() -> way.mount(target, layers, null, null))
        .isInstanceOf(ErrnoException.class)
        .hasMessageContaining(target.toString())
        .hasMessageContaining("ENOENT");
    assertThat(Mounts.isMountPoint(target)).isFalse();
  }

  @Test
  void pathsTooLongForFsconfigAreStillMounted() throws Exception {
    folder = Files.createDirectories(folder.resolve("x".repeat(150)).resolve("y".repeat(150)));
    Path upper = Files.createDirectory(folder.resolve("upper"));
    Mounts.overlay(
        target, layers(3, "l"), upper, Files.createDirectory(folder.resolve("work")), null);
    assertThat(target.resolve("same")).hasContent("2");
  }

  @Test
  void fallbackLeavesNothingBehind() throws Exception {
    Path tmp = Path.of(System.getProperty("java.io.tmpdir", "/tmp"));
    Mounts.overlayByMount(target, layers(60, "l"), null, null, null);
    try (var entries = Files.list(tmp)) {
      assertThat(entries.filter(e -> e.toString().contains("berth-lower"))).isEmpty();
    }
    assertThat(Path.of("").toAbsolutePath()).as("our own working directory").exists();
  }

  @Test
  void oneReadOnlyLayerIsABind() throws Exception {
    Mounts.overlayReadOnly(target, layers(1, "l"), null);
    assertThat(target.resolve("f0")).hasContent("0");
    assertThatThrownBy(() -> Files.writeString(target.resolve("x"), "x"))
        .hasMessageContaining("Read-only");
  }

  @Test
  void detachMayBeRepeatedAndWorksWhileInUse() throws Exception {
    Mounts.tmpfs(target, "size=65536", true);
    assertThat(Mounts.isMountPoint(target)).isTrue();
    Path file = Files.writeString(target.resolve("open"), "still readable");
    try (Fd open = Fd.openRead(file)) {
      Mounts.detach(target);
      assertThat(Mounts.isMountPoint(target)).isFalse();
      assertThat(open.read(new byte[100])).isEqualTo(14);
    }
    Mounts.detach(target);
    Mounts.detach(target.resolve("no/such/folder"));
  }

  @Test
  void detachDoesntFollowALink() throws Exception {
    Mounts.tmpfs(target, "size=65536", true);
    Path link = Files.createSymbolicLink(folder.resolve("link"), target);
    Mounts.detach(link);
    assertThat(Mounts.isMountPoint(target)).isTrue();
  }

  @Test
  void bindShowsTheSourceAndReadOnlyMeansIt() throws Exception {
    Path source = Files.createDirectory(folder.resolve("source"));
    Files.writeString(source.resolve("f"), "x");
    Mounts.bindReadOnly(source, target);
    assertThat(target.resolve("f")).hasContent("x");
    assertThatThrownBy(() -> Files.writeString(target.resolve("y"), "x"))
        .hasMessageContaining("Read-only");
    Files.writeString(source.resolve("f"), "changed");
    assertThat(target.resolve("f")).hasContent("changed");
  }

  @Test
  void recursiveBindTakesWhatIsMountedBeneath() throws Exception {
    Path source = Files.createDirectory(folder.resolve("source"));
    Path inner = Files.createDirectory(source.resolve("inner"));
    Mounts.tmpfs(inner, "", false);
    Files.writeString(inner.resolve("f"), "x");
    Mounts.bindRecursive(source, target);
    assertThat(target.resolve("inner/f")).hasContent("x");
    Mounts.detach(inner);
    assertThat(target.resolve("inner/f")).as("cut off from the source").hasContent("x");
    Mounts.detach(target.resolve("inner"));
  }

  @Test
  void failureNamesWhatWasToBeMounted() {
    assertThatThrownBy(() -> Mounts.bind(folder.resolve("none"), target))
        .hasMessage(
            "mount "
                + folder.resolve("none")
                + " on "
                + target
                + ": no such file or directory (ENOENT)");
  }

  private UserNamespace mapped() throws Exception {
    UserNamespace ids =
        new UserNamespace(
            folder.resolve("user"),
            List.of(new UserNamespace.Range(0, 100_000, 65536)),
            List.of(new UserNamespace.Range(0, 200_000, 65536)));
    Namespaces.createOwned(Set.of(), ids, folder, () -> {});
    return ids;
  }

  @Test
  void recursivelyReadOnlyBindCoversTheMountsBeneath() throws Exception {
    Path source = folder.resolve("source");
    Mounts.tmpfs(Files.createDirectories(source.resolve("below")), "mode=0755", false);

    Mounts.bindChanged(source, target, false, true, null);

    assertThatThrownBy(() -> Files.createFile(target.resolve("file")))
        .hasMessageContaining("Read-only");
    assertThatThrownBy(() -> Files.createFile(target.resolve("below/file")))
        .hasMessageContaining("Read-only");
    Files.createFile(source.resolve("below/file")); // the source stays as it was
  }

  @Test
  void bindWithMappedIdsShowsTheOwnersOfTheUserNamespace() throws Exception {
    Path source = Files.createDirectory(folder.resolve("source"));
    Files.createFile(source.resolve("file"));

    Mounts.bindChanged(source, target, false, false, mapped());

    assertThat(Files.getAttribute(target.resolve("file"), "unix:uid")).isEqualTo(100_000);
    assertThat(Files.getAttribute(target.resolve("file"), "unix:gid")).isEqualTo(200_000);
    assertThat(Files.getAttribute(source.resolve("file"), "unix:uid")).isEqualTo(0);
  }

  @Test
  void overlayWithMappedIdsLeavesItsLayersAndNothingElseBehind() throws Exception {
    Path low = Files.createDirectory(folder.resolve("low"));
    Path high = Files.createDirectory(folder.resolve("high"));
    Path upper = Files.createDirectory(folder.resolve("upper"));
    Path work = Files.createDirectory(folder.resolve("work"));
    Files.writeString(low.resolve("file"), "low");
    Files.writeString(high.resolve("other"), "high");
    int mounts = Mounts.table().size();

    Mounts.overlayMapped(target, List.of(high, low), upper, work, mapped(), null);

    assertThat(Mounts.table()).as("the overlay and the pin").hasSize(mounts + 2);
    assertThat(Files.getAttribute(target.resolve("file"), "unix:uid")).isEqualTo(100_000);
    assertThat(Files.getAttribute(target.resolve("other"), "unix:gid")).isEqualTo(200_000);
    Files.writeString(target.resolve("file"), "changed");
    assertThat(Files.getAttribute(upper.resolve("file"), "unix:uid")).isEqualTo(100_000);
    assertThat(low.resolve("file")).hasContent("low");
  }

  @Test
  void fileSystemThatCannotMapIdsIsRefusedAndLeavesNothingBehind() throws Exception {
    UserNamespace ids = mapped();
    int mounts = Mounts.table().size();

    assertThat(Mounts.canChange()).isTrue();
    assertThatThrownBy(() -> Mounts.bindChanged(Path.of("/proc"), target, false, false, ids))
        .hasMessageContaining("EINVAL");
    assertThatThrownBy(() ->
            Mounts.overlayMappedReadOnly(target, List.of(Path.of("/proc"), folder), ids, null))
        .hasMessageContaining("EINVAL");
    assertThat(Mounts.table()).hasSize(mounts);
  }
}
