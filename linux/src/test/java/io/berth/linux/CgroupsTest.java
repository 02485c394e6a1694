package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CgroupsTest {
  @TempDir Path root;

  private void cgroup(String path, String pids) throws IOException {
    Files.createDirectories(root.resolve(path));
    Files.writeString(root.resolve(path).resolve("cgroup.procs"), pids);
  }

  @Test
  void onV2AllControllersShareOneTree() throws Exception {
    Files.writeString(root.resolve("cgroup.controllers"), "cpu memory\n");
    cgroup("", "1\n");
    cgroup("pods/a", "10\n11\n");
    cgroup("pods/a/inner", "12\n");
    cgroup("pods/b", "20\n");
    Cgroups cgroups = Cgroups.detect(root);
    assertThat(cgroups.unified()).isTrue();
    assertThat(cgroups.folder("memory", "/pods/a")).isEqualTo(root.resolve("pods/a"));
    assertThat(cgroups.folder("cpu", "pods/a")).isEqualTo(root.resolve("pods/a"));
    assertThat(cgroups.processes("/pods/a")).containsExactly(10, 11, 12);
    assertThat(cgroups.processes("/pods/none")).isEmpty();
  }

  @Test
  void onV1EachControllerHasItsTreeAndLinksAreNoTreesOfTheirOwn() throws Exception {
    cgroup("cpu,cpuacct", "1\n");
    cgroup("memory", "1\n");
    Files.createSymbolicLink(root.resolve("cpu"), root.resolve("cpu,cpuacct"));
    Files.createSymbolicLink(root.resolve("cpuacct"), root.resolve("cpu,cpuacct"));
    cgroup("cpu,cpuacct/pod", "10\n");
    cgroup("memory/pod", "10\n11\n");
    Cgroups cgroups = Cgroups.detect(root);
    assertThat(cgroups.unified()).isFalse();
    assertThat(cgroups.folder("cpuacct", "/pod")).isEqualTo(root.resolve("cpu,cpuacct/pod"));
    assertThat(cgroups.folder("memory", "/pod")).isEqualTo(root.resolve("memory/pod"));
    assertThat(cgroups.processes("/pod")).containsExactly(10, 11);
  }

  @Test
  void hybridIsV1WithTheProcessesOfTheV2TreeToo() throws Exception {
    cgroup("memory", "1\n");
    cgroup("unified", "1\n");
    Files.writeString(root.resolve("unified/cgroup.controllers"), "");
    cgroup("unified/pod", "33\n");
    Cgroups cgroups = Cgroups.detect(root);
    assertThat(cgroups.unified()).isFalse();
    assertThat(cgroups.processes("/pod")).containsExactly(33);
  }

  @Test
  void machineWithoutCgroupsIsRefused() {
    assertThatThrownBy(() -> Cgroups.detect(root))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageStartingWith("look at cgroup hierarchies in " + root + ": none is mounted");
  }

  @Test
  void rootCgroupIsNeverRemoved() throws Exception {
    cgroup("memory", "1\n");
    assertThatThrownBy(() -> Cgroups.detect(root).remove("/"))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Tag("root")
  @Test
  void cgroupIsRemovedWithAllBeneathOnceItsProcessesAreGone() throws Exception {
    Needs.root();
    Cgroups cgroups = Cgroups.detect(Path.of("/sys/fs/cgroup"));
    String name = "/berth-test-" + ProcessHandle.current().pid();
    Path cgroup = cgroups.folder("memory", name);
    Subprocess sleeper = Subprocess.command("/bin/sleep", "100").start();
    try {
      Files.createDirectories(cgroup.resolve("a/b"));
      Files.writeString(cgroup.resolve("a/b/cgroup.procs"), Integer.toString(sleeper.pid()));
      assertThat(cgroups.processes(name)).containsExactly(sleeper.pid());
      assertThatThrownBy(() -> cgroups.remove(name))
          .isInstanceOf(UncheckedIOException.class)
          .hasMessageStartingWith("remove cgroup " + cgroup.resolve("a/b"));
    } finally {
      sleeper.kill(9);
      var _ = sleeper.await();
      Await.until("it is empty", () -> cgroups.processes(name).isEmpty());
      cgroups.remove(name);
    }
    assertThat(cgroup).doesNotExist();
    cgroups.remove(name);
  }

  /** The OCI runtime removes cgroups while we look: that is no error. */
  @Tag("root")
  @Test
  void cgroupsThatVanishMeanwhileAreNoError() throws Exception {
    Needs.root();
    Cgroups cgroups = Cgroups.detect(Path.of("/sys/fs/cgroup"));
    String name = "/berth-test-race-" + ProcessHandle.current().pid();
    Path cgroup = cgroups.folder("memory", name);
    Thread other =
        Thread.ofPlatform()
            .start(() -> {
              for (int i = 0; i < 200; i++) {
                make(cgroup);
                cgroups.remove(name);
              }
            });
    try {
      while (other.isAlive()) {
        assertThat(cgroups.processes(name)).isEmpty();
      }
    } finally {
      other.join();
      cgroups.remove(name);
    }
  }

  @Tag("root")
  @Test
  void twoMayRemoveTheSameCgroupAtOnce() throws Exception {
    Needs.root();
    Cgroups cgroups = Cgroups.detect(Path.of("/sys/fs/cgroup"));
    String name = "/berth-test-two-" + ProcessHandle.current().pid();
    Path cgroup = cgroups.folder("memory", name);
    for (int i = 0; i < 100; i++) {
      make(cgroup);
      CompletableFuture<Void> other = CompletableFuture.runAsync(() -> cgroups.remove(name));
      cgroups.remove(name);
      other.get();
      assertThat(cgroup).doesNotExist();
    }
  }

  private static void make(Path cgroup) {
    try {
      Files.createDirectories(cgroup.resolve("a"));
      Files.createDirectories(cgroup.resolve("b"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
