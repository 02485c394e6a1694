package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.Stages;
import io.grpc.Status;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class ExplanationTest {
  private static final Subject POD = new Subject("abc", "ns/web", "uid", "");

  private static Operation operation(
      String method,
      long millis,
      Status.@Nullable Code code,
      String error,
      Stages.Stage... stages) {
    return new Operation(
        "1",
        method,
        "ns/web",
        POD,
        Instant.EPOCH,
        Duration.ofMillis(millis),
        code,
        error,
        "",
        List.of(stages));
  }

  private static Stages.Stage stage(String name, String subject, long millis, int parent) {
    return new Stages.Stage(
        name, subject, 0, Duration.ofMillis(millis), false, null, parent + 1, parent, null);
  }

  @Test
  void theInnermostStageThatTookMostIsNamed() {
    assertThat(
            Explanation.of(
                List.of(
                    operation(
                        "RunPodSandbox",
                        9000,
                        Status.Code.OK,
                        "",
                        stage("network", "", 8800, -1),
                        stage("cni add bridge", "", 8200, 0),
                        stage("cni add portmap", "", 500, 0)))))
        .containsExactly("RunPodSandbox took 9.0 s: CNI plugin bridge took 8.2 s of it");
  }

  @Test
  void whatNoStageCoversIsBerthsOwn() {
    assertThat(
            Explanation.of(
                List.of(
                    operation(
                        "CreateContainer", 2000, Status.Code.OK, "", stage("conmon", "", 90, -1)))))
        .containsExactly("CreateContainer took 2.0 s: Berth itself took 1.9 s of it");
  }

  @Test
  void aFailureIsToldWithItsStageHoweverFastItWas() {
    Stages.Stage failed =
        new Stages.Stage(
            "snapshot", "", 0, Duration.ofMillis(3), false, "no space left", 0, -1, null);
    assertThat(
            Explanation.of(
                List.of(
                    operation(
                        "CreateContainer",
                        100,
                        Status.Code.RESOURCE_EXHAUSTED,
                        "mount: no space left",
                        stage("conmon", "", 90, -1),
                        failed))))
        .singleElement()
        .asString()
        .startsWith("CreateContainer failed after 100 ms in stage snapshot: ")
        .endsWith("RESOURCE_EXHAUSTED: mount: no space left");
  }

  @Test
  void whatRunsNowComesFirstWithTheProcessThatIsWaitedFor() {
    Stages.Stage running =
        new Stages.Stage(
            "runtime start",
            "runc",
            0,
            Duration.ofSeconds(4),
            true,
            null,
            0,
            -1,
            new Stages.Waited("runc", 12, "runc > hook > sleep"));
    assertThat(
            Explanation.of(
                List.of(
                    operation("StartContainer", 4100, null, "", running),
                    operation("RunPodSandbox", 20, Status.Code.OK, ""))))
        .containsExactly(
            "StartContainer has been running for 4.1 s: OCI hook hook, run by OCI runtime runc (start)"
                + " has taken 4.0 s of it, waiting for sleep (runc > hook > sleep)");
  }

  @Test
  void ordinaryTimesAreNotExplained() {
    assertThat(Explanation.of(List.of(operation("RunPodSandbox", 60, Status.Code.OK, ""))))
        .isEmpty();
  }
}
