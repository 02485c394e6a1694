package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.CgroupDriver;
import io.berth.sandbox.PodCgroup;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ContainerCgroupTest {
  private static final ContainerId ID = Containers.id("aa");

  @ParameterizedTest
  @CsvSource({"/kubepods/burstable/pod1,/kubepods/burstable/pod1/", "/,/"})
  void inTheFileSystemItIsBeneathThePods(String parent, String folder) {
    PodCgroup pod = new PodCgroup(CgroupDriver.CGROUPFS, parent, null);
    assertThat(ContainerCreator.cgroup(pod, ID)).isEqualTo(folder + ID);
    assertThat(pod.containerPath(ID.value())).isEqualTo(folder + ID);
  }

  @ParameterizedTest
  @CsvSource({
    "system.slice,/system.slice",
    "kubepods-burstable-pod1.slice,"
        + "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice"
  })
  void systemdNestsSlicesByTheirDashes(String slice, String folder) {
    PodCgroup pod = new PodCgroup(CgroupDriver.SYSTEMD, slice, null);
    assertThat(ContainerCreator.cgroup(pod, ID)).isEqualTo(folder + "/berth-" + ID + ".scope");
  }

  @Test
  void systemdGetsSlicePrefixAndName() {
    assertThat(new PodCgroup(CgroupDriver.SYSTEMD, "a-b.slice", null).containerPath(ID.value()))
        .isEqualTo("a-b.slice:berth:" + ID);
  }
}
