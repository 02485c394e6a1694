package io.berth.sandbox;

import static io.berth.linux.CgroupDriver.CGROUPFS;
import static io.berth.linux.CgroupDriver.SYSTEMD;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.InstanceOfAssertFactories.type;

import io.berth.linux.CgroupDriver;
import io.berth.linux.Cgroups;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PodCgroupTest {
  @TempDir Path root = Path.of("");
  private final SandboxId id = SandboxId.random();

  /// A folder that looks like the unified hierarchy.
  @BeforeEach
  void unifiedHierarchy() throws IOException {
    Files.writeString(root.resolve("cgroup.controllers"), "cpu memory pids");
    Files.createDirectories(root.resolve("kubepods/burstable/pod1"));
  }

  private PodCgroup of(String parent, CgroupDriver driver) {
    return PodCgroup.of(
        Configs.pod("p").cgroupParent(parent).build(), id, driver, Cgroups.detect(root));
  }

  @Test
  void takesThePathAsItIsWithTheFileSystemDriver() {
    PodCgroup cgroup = of("/kubepods/burstable/pod1", CGROUPFS);
    assertThat(cgroup.parent()).isEqualTo("/kubepods/burstable/pod1");
    assertThat(cgroup.made()).isNull();
    assertThat(cgroup.containerPath("c1")).isEqualTo("/kubepods/burstable/pod1/c1");
  }

  @Test
  void takesTheLastSliceWithTheSystemdDriver() {
    PodCgroup cgroup =
        of("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podX_1.slice", SYSTEMD);
    assertThat(cgroup.parent()).isEqualTo("kubepods-burstable-podX_1.slice");
    assertThat(cgroup.containerPath("c1")).isEqualTo("kubepods-burstable-podX_1.slice:berth:c1");
  }

  @Test
  void remembersTheUppermostCgroupThatWasMissing() {
    assertThat(of("kubepods/new/pod2", CGROUPFS))
        .isEqualTo(new PodCgroup(CGROUPFS, "/kubepods/new/pod2", "/kubepods/new"));
  }

  @Test
  void remembersTheUppermostSliceThatWasMissing() throws IOException {
    Files.createDirectories(root.resolve("kubepods.slice"));
    PodCgroup pod =
        of("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice", SYSTEMD);
    assertThat(pod.made()).isEqualTo("kubepods-besteffort.slice");
    Files.createDirectories(
        root.resolve("kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice"));
    assertThat(of("/kubepods-besteffort-pod1.slice", SYSTEMD).made()).isNull();
  }

  @ParameterizedTest
  @CsvSource({"/kubepods/burstable/pod1,/kubepods/burstable/pod1/c1", "/,/c1"})
  void inTheFileSystemAContainerIsBeneathItsPod(String parent, String container) {
    PodCgroup pod = new PodCgroup(CGROUPFS, parent, null);
    assertThat(pod.containerCgroup("c1")).isEqualTo(container);
    assertThat(pod.containerPath("c1")).isEqualTo(container);
  }

  @ParameterizedTest
  @CsvSource({
    "system.slice, /system.slice",
    "kubepods-burstable-pod1.slice,"
        + "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice"
  })
  void systemdNestsSlicesByTheirDashes(String slice, String path) {
    PodCgroup pod = new PodCgroup(SYSTEMD, slice, null);
    assertThat(pod.path()).isEqualTo(path);
    assertThat(pod.containerCgroup("c1")).isEqualTo(path + "/berth-c1.scope");
  }

  @Test
  void givesAPodWithoutAParentACgroupOfItsOwn() {
    assertThat(of("", CGROUPFS)).isEqualTo(new PodCgroup(CGROUPFS, "/berth-" + id, "/berth-" + id));
    assertThat(of("/", CGROUPFS).parent()).isEqualTo("/berth-" + id);
    String slice = "berth-" + id + ".slice";
    assertThat(of("", SYSTEMD)).isEqualTo(new PodCgroup(SYSTEMD, slice, slice));
  }

  @ParameterizedTest
  @CsvSource({
    "SYSTEMD, /kubepods/pod1, doesn't end in .slice",
    "SYSTEMD, /a--b.slice, no name of a slice",
    "SYSTEMD, /-.slice, no name of a slice",
    "SYSTEMD, /.slice, no name of a slice",
    "SYSTEMD, /a:b;c.slice, no name of a slice",
    "CGROUPFS, /kubepods.slice/kubepods-podX.slice, it names a slice",
    "CGROUPFS, /kubepods/../../etc, can't be part of it",
    "CGROUPFS, '/kube pods/x', can't be part of it"
  })
  void refusesTheWrongFormAndSaysHowToMendIt(CgroupDriver driver, String parent, String why) {
    assertThatThrownBy(() -> of(parent, driver))
        .asInstanceOf(type(SandboxException.class))
        .returns(SandboxException.Reason.INVALID, SandboxException::reason)
        .extracting(Throwable::getMessage)
        .asString()
        .contains("run sandbox default/p", "cgroup parent \"" + parent + "\"", why);
  }

  @Test
  void keepsACgroupThatStillHoldsProcesses() throws IOException {
    Path cgroup = Files.createDirectories(root.resolve("new/pod2"));
    Files.writeString(cgroup.resolve("cgroup.procs"), "42\n");
    Files.writeString(cgroup.resolveSibling("cgroup.procs"), "");
    assertThatThrownBy(() -> PodCgroup.remove("/new", Cgroups.detect(root)))
        .hasMessage("cgroup /new still holds processes [42]");
    assertThat(cgroup).exists();
  }
}
