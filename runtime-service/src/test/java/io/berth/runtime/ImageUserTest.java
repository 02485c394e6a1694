package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.linux.RootedTree;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.NamespaceModes;
import io.berth.sandbox.SandboxSecurity.GroupsPolicy;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ImageUserTest {
  @TempDir Path rootfs;
  private @Nullable Long user;
  private @Nullable Long group;
  private String name = "";
  private List<Long> supplemental = List.of();
  private GroupsPolicy policy = GroupsPolicy.MERGE;

  @BeforeEach
  void writeAccounts() throws IOException {
    Files.createDirectories(rootfs.resolve("etc"));
    Files.writeString(
        rootfs.resolve("etc/passwd"),
        """
        # a comment
        root:x:0:0:root:/root:/bin/sh
        broken
        also:x:minus:1
        huge:x:2147483648:0::/:
        4294967296:x:0:0::/:
        app:x:1000:2000:App:/home/app:/bin/sh
        app:x:5:5:the second never counts:/:
        last:x:7:8\
        """);
    Files.writeString(
        rootfs.resolve("etc/group"),
        """
        root:x:0:
        web:x:3000:other,app
        :x:9:app
        broken:x:nan:app
        lookalike:x:3001:application,myapp
        data:x:4000:app
        nomembers:x:4001
        """);
  }

  @Test
  void nothingAskedIsRoot() {
    assertThat(resolve("")).isEqualTo(resolved(0, 0, 0));
  }

  @Test
  void imagesUserByNameHasItsGroups() {
    assertThat(resolve("app")).isEqualTo(resolved(1000, 2000, 2000, 3000, 9, 4000));
    assertThat(resolve("last")).isEqualTo(resolved(7, 8, 8));
  }

  @Test
  void imagesGroupIsTakenByNameAndNumber() {
    assertThat(resolve("app:data")).isEqualTo(resolved(1000, 4000, 4000, 3000, 9));
    assertThat(resolve("1000:77")).isEqualTo(resolved(1000, 77, 77, 3000, 9, 4000));
    assertThat(resolve("app:nomembers")).returns(4001L, ImageUser.Resolved::gid);
    assertRefused("app:nobody", "group \"nobody\"");
  }

  @Test
  void unknownNumberIsFineWithGroupZero() {
    assertThat(resolve("4711")).isEqualTo(resolved(4711, 0, 0));
  }

  @Test
  void unknownNameIsRefused() {
    assertRefused("nobody", "/etc/passwd has no such name");
  }

  @Test
  void requestWinsOverTheImageAndNameOverNumber() {
    user = 7L;
    assertThat(resolve("app")).isEqualTo(resolved(7, 8, 8));
    name = "app";
    assertThat(resolve("root")).isEqualTo(resolved(1000, 2000, 2000, 3000, 9, 4000));
  }

  @Test
  void zeroIsNotUnset() {
    user = 0L;
    assertThat(resolve("app")).isEqualTo(resolved(0, 0, 0));
  }

  @Test
  void groupOverridesThePrimaryOne() {
    user = 1000L;
    group = 55L;
    assertThat(resolve("")).isEqualTo(resolved(1000, 55, 55, 3000, 9, 4000));
  }

  @Test
  void groupWithoutUserIsRefused() {
    group = 55L;
    assertRefused("app", "run_as_group needs run_as_user");
  }

  @Test
  void strictPolicyDropsTheImagesGroupsButNotThePrimary() {
    user = 1000L;
    supplemental = List.of(50000L, 2000L);
    policy = GroupsPolicy.STRICT;
    assertThat(resolve("")).isEqualTo(resolved(1000, 2000, 2000, 50000));
    policy = GroupsPolicy.MERGE;
    assertThat(resolve("")).isEqualTo(resolved(1000, 2000, 2000, 3000, 9, 4000, 50000));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "2147483648",
        "4294967296",
        "18446744073709551616",
        "0000000000002147483648",
        "0:4294967296",
        "app:2147483648"
      })
  void numberBeyondTheRangeIsRefusedEvenAsAName(String imageUser) {
    assertRefused(imageUser, "ids go from 0 to 2147483647");
  }

  @Test
  void requestedNumbersAreRangeCheckedToo() {
    user = -1L;
    assertRefused("", "run_as_user -1");
    user = 1L << 31;
    assertRefused("", "run_as_user 2147483648");
    user = 1L;
    group = 1L << 32;
    assertRefused("", "run_as_group 4294967296");
    group = null;
    supplemental = List.of(-5L);
    assertRefused("", "supplemental_groups -5");
  }

  @ParameterizedTest
  @ValueSource(strings = {"app\nroot", "app\r", "a:b:c", "huge", "\0"})
  void userThatIsNoneIsRefused(String imageUser) {
    assertRefused(imageUser, "resolve");
  }

  @Test
  void leadingZerosMeanTheSameNumber() {
    assertThat(resolve("0001000")).returns(1000L, ImageUser.Resolved::uid);
  }

  @Test
  void imageWithoutAccountsHasNumbersOnly() throws IOException {
    Files.delete(rootfs.resolve("etc/passwd"));
    Files.delete(rootfs.resolve("etc/group"));
    assertThat(resolve("1000")).isEqualTo(resolved(1000, 0, 0));
    assertRefused("app", "no such name");
  }

  @Test
  void hugeAccountFileIsRefusedUnread() throws IOException {
    try (RandomAccessFile file =
        new RandomAccessFile(rootfs.resolve("etc/passwd").toFile(), "rw")) {
      file.setLength(1L << 30); // one endless line of zeros
    }
    assertRefused("app", "/etc/passwd is longer than 1048576 bytes");
  }

  @Test
  void linksOfTheImageEndAtItsRoot(@TempDir Path outside) throws IOException {
    Path canary = Files.writeString(outside.resolve("passwd"), "canary:x:1:1:::\n");
    Files.delete(rootfs.resolve("etc/passwd"));
    Files.createSymbolicLink(rootfs.resolve("etc/passwd"), canary);
    assertRefused("canary", "no such name");
  }

  private ImageUser.Resolved resolve(String imageUser) {
    try (RootedTree tree = RootedTree.open(rootfs)) {
      return ImageUser.resolve(
          tree,
          new ContainerConfig.Security(
              List.of(),
              List.of(),
              List.of(),
              false,
              NamespaceModes.ordinary(),
              null,
              user,
              group,
              name,
              false,
              supplemental,
              policy,
              false,
              List.of(),
              List.of(),
              null,
              null),
          imageUser);
    }
  }

  private static ImageUser.Resolved resolved(long uid, long gid, int... groups) {
    return new ImageUser.Resolved(uid, gid, Arrays.stream(groups).mapToObj(Long::valueOf).toList());
  }

  private void assertRefused(String imageUser, String text) {
    assertThatThrownBy(() -> resolve(imageUser))
        .isInstanceOf(ContainerException.class)
        .hasMessageContaining(text)
        .extracting(e -> ((ContainerException) e).reason())
        .isEqualTo(Reason.INVALID);
  }
}
