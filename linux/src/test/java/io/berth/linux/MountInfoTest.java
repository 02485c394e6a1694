package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

class MountInfoTest {
  @Test
  void fieldsAreThoseOfTheManual() {
    MountInfo mount =
        MountInfo.parse(
            "36 35 98:0 /mnt1 /mnt2 rw,noatime shared:12 master:1 - ext3 /dev/root rw,errors=continue");
    assertThat(mount)
        .isEqualTo(
            new MountInfo(
                Path.of("/mnt1"),
                Path.of("/mnt2"),
                "rw,noatime",
                List.of("shared:12", "master:1"),
                "ext3",
                "/dev/root"));
    assertThat(mount.isShared()).isTrue();
    assertThat(mount.isSlave()).isTrue();
  }

  @Test
  void optionalFieldsMayBeMissingAndTheSourceEmpty() {
    MountInfo mount = MountInfo.parse("1 2 0:5 / /x ro - tmpfs  rw");
    assertThat(mount.optional()).isEmpty();
    assertThat(mount.source()).isEmpty();
    assertThat(mount.isShared() || mount.isSlave()).isFalse();
  }

  @Test
  void namesAreUnescaped() {
    MountInfo mount =
        MountInfo.parse("1 2 0:5 /a\\040b /c\\011\\012\\134\\043d rw - fuse x\\040y rw");
    assertThat(mount.root()).isEqualTo(Path.of("/a b"));
    assertThat(mount.target()).isEqualTo(Path.of("/c\t\n\\#d"));
    assertThat(mount.source()).isEqualTo("x y");
  }

  @Test
  void carriageReturnInANameDoesntEndTheLine() {
    assertThat(
            MountInfo.parseTable(
                "1 2 0:5 / /a\rb rw - tmpfs tmpfs rw\n2 2 0:5 / /c rw - tmpfs tmpfs rw\n"))
        .extracting(MountInfo::target)
        .containsExactly(Path.of("/a\rb"), Path.of("/c"));
  }

  @Test
  void ownTableIsRead() {
    assertThat(Mounts.table()).anyMatch(m -> m.target().equals(Path.of("/")));
    assertThat(Mounts.holding(Path.of("/proc/self")).orElseThrow().type()).isEqualTo("proc");
  }
}
