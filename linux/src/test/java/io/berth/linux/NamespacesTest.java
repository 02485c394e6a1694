package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.NetworkInterface;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@Tag("root")
class NamespacesTest {
  private static final Set<Namespaces.Kind> ALL = EnumSet.allOf(Namespaces.Kind.class);

  @TempDir Path folder;

  @BeforeEach
  void needRoot() throws Exception {
    Needs.root();
  }

  @AfterEach
  void unpin() {
    for (Namespaces.Kind kind : ALL) {
      Namespaces.unpin(folder.resolve(kind.file()));
    }
    Namespaces.unpin(folder.resolve("user"));
  }

  private static String own(String kind) throws IOException {
    return Files.readSymbolicLink(Path.of("/proc/thread-self/ns", kind)).toString();
  }

  @Test
  void pinnedNamespacesAreNewAndOutliveTheirThread() throws Exception {
    Namespaces.create(ALL, folder, () -> {});
    for (Namespaces.Kind kind : ALL) {
      Path pin = folder.resolve(kind.file());
      assertThat(Namespaces.isPinned(pin)).isTrue();
      String inside = Namespaces.inside(pin, () -> own(kind.file()));
      assertThat(inside).isNotEqualTo(own(kind.file()));
    }
  }

  @Test
  void setupRunsInsideAndLeavesTheMachineAlone() throws Exception {
    String hostname = Files.readString(Path.of("/proc/sys/kernel/hostname"));
    Namespaces.create(
        ALL,
        folder,
        () -> {
          Namespaces.setHostname("berth-test");
          Namespaces.raiseLoopback();
          Files.writeString(Path.of("/proc/sys/net/ipv4/ip_unprivileged_port_start"), "7");
        });

    assertThat(Files.readString(Path.of("/proc/sys/kernel/hostname"))).isEqualTo(hostname);
    assertThat(
            Namespaces.inside(
                folder.resolve("uts"),
                () -> Files.readString(Path.of("/proc/sys/kernel/hostname"))))
        .isEqualTo("berth-test\n");
    Path network = folder.resolve("net");
    assertThat(Namespaces.inside(network, () -> NetworkInterface.getByName("lo").isUp())).isTrue();
    assertThat(
            Namespaces.inside(
                network,
                () -> Files.readString(Path.of("/proc/sys/net/ipv4/ip_unprivileged_port_start"))))
        .startsWith("7");
  }

  @Test
  void onlyTheKindsAskedForAreMade() throws Exception {
    String[] seen = new String[1];
    Namespaces.create(EnumSet.of(Namespaces.Kind.UTS), folder, () -> seen[0] = own("net"));
    assertThat(seen[0]).isEqualTo(own("net"));
    assertThat(folder.resolve("net")).doesNotExist();
    assertThat(folder.resolve("uts")).exists();
  }

  @Test
  void failedSetupLeavesNothing() throws Exception {
    assertThatThrownBy(() ->
            Namespaces.create(
                ALL,
                folder,
                () -> {
                  throw new IOException("sysctl refused");
                }))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessageContaining("sysctl refused");
    assertNothingIsLeft();
    assertThatThrownBy(() ->
            Namespaces.create(
                ALL,
                folder,
                () -> {
                  throw new NoClassDefFoundError("X");
                }))
        .isInstanceOf(NoClassDefFoundError.class);
    assertNothingIsLeft();
  }

  @Test
  void visitsNetworksOneAfterTheOtherAndLeavesOutThoseThatAreGone() throws Exception {
    Namespaces.create(EnumSet.of(Namespaces.Kind.NET), folder, () -> {});
    Path pin = folder.resolve("net");
    Path unpinned = Files.createFile(folder.resolve("unpinned"));
    String[] seen = new String[4];
    Namespaces.visit(
        List.of(folder.resolve("gone"), pin, unpinned, pin), i -> seen[i] = ownUnchecked("net"));
    String inside = Namespaces.inside(pin, () -> own("net"));
    assertThat(seen).containsExactly(null, inside, null, inside);
    assertThat(inside).isNotEqualTo(own("net"));
  }

  private static String ownUnchecked(String kind) {
    try {
      return own(kind);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void assertNothingIsLeft() {
    assertThat(folder).isEmptyDirectory();
    assertThat(Mounts.table()).noneMatch(m -> m.target().startsWith(folder));
  }

  @Test
  void unpinMayBeRepeated() {
    Namespaces.create(ALL, folder, () -> {});
    Path pin = folder.resolve("net");
    Namespaces.unpin(pin);
    Namespaces.unpin(pin);
    assertThat(Namespaces.isPinned(pin)).isFalse();
    assertThat(pin).doesNotExist();
  }

  @Test
  void plainFileIsNoNamespace() throws Exception {
    Path pin = Files.createFile(folder.resolve("net"));
    assertThat(Namespaces.isPinned(pin)).isFalse();
    assertThatThrownBy(() -> Namespaces.inside(pin, () -> ""))
        .isInstanceOf(ErrnoException.class)
        .hasMessageStartingWith("enter namespace " + pin + ": ");
  }

  @Test
  void manyNamespacesLeaveNoDescriptors() throws Exception {
    Namespaces.create(ALL, folder, Namespaces::raiseLoopback);
    unpin();
    long before = descriptors();
    for (int i = 0; i < 20; i++) {
      Namespaces.create(ALL, folder, Namespaces::raiseLoopback);
      Namespaces.inside(folder.resolve("net"), () -> "");
      unpin();
    }
    assertThat(descriptors()).isEqualTo(before);
  }

  private static long descriptors() throws IOException {
    try (var entries = Files.list(Path.of("/proc/self/fd"))) {
      return entries.count();
    }
  }

  @Test
  void userNamespaceOwnsTheOthersAndMapsItsIds() throws Exception {
    UserNamespace user = user(100_000, 200_000);
    Namespaces.createOwned(
        ALL,
        user,
        folder,
        () -> {
          Namespaces.setHostname("berth-test");
          Namespaces.raiseLoopback();
          Files.writeString(Path.of("/proc/sys/net/ipv4/ip_unprivileged_port_start"), "7");
        });

    assertThat(Namespaces.isPinned(user.pin())).isTrue();
    // Root of the user namespace may change what it owns.
    assertThat(
            enter(
                    "cat /proc/self/uid_map /proc/self/gid_map; hostname changed; hostname;"
                        + " cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ip link set lo down")
                .split("\\s+"))
        .containsSequence("0", "100000", "65536", "0", "200000", "65536", "changed", "7");
    assertThat(user.uid(33)).isEqualTo(100_033);
    assertThat(user.gid(33)).isEqualTo(200_033);
    assertThat(user.uid(70_000)).as("not mapped").isEqualTo(65534);
  }

  @Test
  void failedSetupInAUserNamespaceLeavesNothingPinned() {
    UserNamespace user = user(100_000, 100_000);
    assertThatThrownBy(() ->
            Namespaces.createOwned(
                ALL,
                user,
                folder,
                () -> {
                  throw new IOException("no");
                }))
        .hasMessageContaining("no");
    assertThat(Namespaces.isPinned(user.pin())).isFalse();
    assertThat(Namespaces.isPinned(folder.resolve("net"))).isFalse();
  }

  private UserNamespace user(long uids, long gids) {
    return new UserNamespace(
        folder.resolve("user"),
        List.of(new UserNamespace.Range(0, uids, 65536)),
        List.of(new UserNamespace.Range(0, gids, 65536)));
  }

  private String enter(String script) throws InterruptedException {
    Subprocess.Result result =
        Subprocess.command(
                "/usr/bin/nsenter",
                "--user=" + folder.resolve("user"),
                "--net=" + folder.resolve("net"),
                "--uts=" + folder.resolve("uts"),
                "sh",
                "-ec",
                script)
            .run();
    assertThat(result.ok()).as(result.err()).isTrue();
    return result.out();
  }
}
