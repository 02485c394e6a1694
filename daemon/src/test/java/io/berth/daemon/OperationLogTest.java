package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import io.grpc.Status;
import org.junit.jupiter.api.Test;

class OperationLogTest {
  private final OperationLog log = new OperationLog(Subject.Directory.EMPTY);

  @Test
  void keepsTheLatestAndAllThatRun() {
    OperationLog.Running hanging = log.begin("StopContainer");
    hanging.concerns("hanging");
    for (int i = 0; i < OperationLog.CAPACITY + 10; i++) {
      OperationLog.Running call = log.begin("CreateContainer");
      call.concerns("c" + i);
      var _ = call.finish(Status.OK);
    }
    assertThat(log.list("", true)).hasSize(OperationLog.CAPACITY + 1);
    assertThat(log.list("hanging", false)).singleElement().matches(Operation::isRunning);
    assertThat(log.list("c9", true))
        .as("the oldest are forgotten")
        .noneMatch(o -> o.object().equals("c9"));
  }

  @Test
  void pollingDoesNotDriveOutWhatMatters() {
    var _ = log.begin("RunPodSandbox").finish(Status.OK);
    for (int i = 0; i < 2 * OperationLog.CAPACITY; i++) {
      var _ = log.begin("ListContainers").finish(Status.OK);
    }
    assertThat(log.list("", true)).extracting(Operation::method).containsExactly("RunPodSandbox");
    var _ = log.begin("ContainerStatus").finish(Status.NOT_FOUND);
    assertThat(log.list("", true)).as("failed reads are kept").hasSize(2);
    assertThat(log.changes()).as("reads are no changes").isEqualTo(1);
  }

  @Test
  void aCallEndsOnce() {
    OperationLog.Running call = log.begin("RunPodSandbox");
    assertThat(call.finish(Status.OK)).isNotNull();
    assertThat(call.finish(Status.CANCELLED)).isNull();
    assertThat(log.list("", true)).singleElement().matches(o -> o.code() == Status.Code.OK);
  }
}
