package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.Test;

class StagesTest {
  @Test
  void stagesAreListedInTheOrderOfTheirStartWithTheirTimes() throws Exception {
    Stages.Log log = new Stages.Log();
    String result =
        Stages.record(
            log,
            () ->
                Stages.<String, RuntimeException>time(
                    "outer",
                    () -> {
                      Stages.<RuntimeException>run("inner", () -> {});
                      return "value";
                    }));
    assertThat(result).isEqualTo("value");
    List<Stages.Stage> stages = log.stages();
    assertThat(stages).extracting(Stages.Stage::name).containsExactly("outer", "inner");
    assertThat(stages)
        .allSatisfy(s -> {
          assertThat(s.duration()).isNotNull();
          assertThat(s.error()).isNull();
        });
    assertThat(stages.get(0).duration()).isGreaterThanOrEqualTo(stages.get(1).duration());
  }

  @Test
  void runningStageHasNoDurationYet() throws Exception {
    Stages.Log log = new Stages.Log();
    var _ =
        Stages.<String>record(
            log,
            () ->
                Stages.<String, RuntimeException>time(
                    "one",
                    () -> {
                      assertThat(Stages.current()).isSameAs(log);
                      assertThat(log.stages().getFirst().duration()).isNull();
                      return "";
                    }));
  }

  @Test
  void failedStageSaysWhyAndTheExceptionPasses() {
    Stages.Log log = new Stages.Log();
    assertThatThrownBy(() ->
            Stages.<String>record(
                log,
                () ->
                    Stages.<String, IOException>time(
                        "one",
                        () -> {
                          throw new IOException("broken");
                        })))
        .isInstanceOf(IOException.class)
        .hasMessage("broken");
    assertThat(log.stages().getFirst().error()).isEqualTo("broken");
    assertThat(log.stages().getFirst().duration()).isNotNull();
  }

  @Test
  void withoutALogTheStageJustRuns() {
    assertThat(Stages.<String, RuntimeException>time("one", () -> "x")).isEqualTo("x");
    assertThat(Stages.current().stages()).isEmpty();
  }
}
