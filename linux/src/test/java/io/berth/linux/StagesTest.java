package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.tuple;

import java.io.IOException;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.FutureTask;
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

  @Test
  void stagesOnOtherThreadsKeepTheirPlaceInTheNest() throws Exception {
    Stages.Log log = new Stages.Log();
    var _ =
        Stages.<String>record(
            log,
            () ->
                Stages.<String, Exception>time(
                    "outer",
                    "subject",
                    () -> {
                      var task =
                          new FutureTask<String>(
                              Stages.inherit(
                                  () -> Stages.<String, Exception>time("inner", () -> "x")));
                      Thread.ofVirtual().start(task);
                      return task.get();
                    }));
    assertThat(log.stages())
        .satisfiesExactly(
            outer -> {
              assertThat(outer.subject()).isEqualTo("subject");
              assertThat(outer.depth()).isZero();
              assertThat(outer.parent()).isEqualTo(-1);
            },
            inner -> {
              assertThat(inner.name()).isEqualTo("inner");
              assertThat(inner.depth()).isEqualTo(1);
              assertThat(inner.parent()).isZero();
            });
  }

  @Test
  void aMeterCountsOnlyTheTimeWithinIt() throws Exception {
    Stages.Log log = new Stages.Log();
    var _ =
        Stages.<String>record(
            log,
            () -> {
              Stages.Meter meter = Stages.meter("fetch", "host");
              assertThat(log.running()).isEmpty();
              meter.enter();
              assertThat(log.running()).hasSize(1);
              meter.leave();
              long counted = log.stages().getFirst().elapsed().toNanos();
              long end = System.nanoTime() + counted + 5_000_000;
              while (System.nanoTime() < end) {
                Thread.onSpinWait();
              }
              assertThat(log.stages().getFirst().elapsed().toNanos()).isEqualTo(counted);
              return "";
            });
  }

  @Test
  void aStageNamesTheProcessThatItWaitsForAndWhatThatOneWaitedForLongest() throws Exception {
    Stages.Log log = new Stages.Log();
    var _ =
        Stages.<String>record(
            log,
            () ->
                Stages.<String, Exception>time(
                    "one",
                    () -> {
                      Subprocess shell =
                          Subprocess.command(List.of("/bin/sh", "-c", "sleep 600; :")).start();
                      try {
                        Stages.Running stage = log.running().getFirst();
                        Stages.Waited process = Objects.requireNonNull(stage.stage().process());
                        assertThat(process.name()).isEqualTo("sh");
                        Await.until(
                            "the shell's child",
                            () -> ProcessChain.of(process.pid()).describe().equals("sh > sleep"));
                        stage.saw(process.pid(), "sh > sleep");
                        stage.saw(process.pid(), "sh > sleep");
                        // What a look meets that comes when the wait is already over.
                        stage.saw(process.pid(), "sh > true");
                        assertThat(Objects.requireNonNull(stage.stage().process()).chain())
                            .isEqualTo("sh > true");
                      } finally {
                        ProcessChain.of(shell.pid())
                            .links()
                            .forEach(link ->
                                ProcessHandle.of(link.pid())
                                    .ifPresent(h -> {
                                      var _ = h.destroyForcibly();
                                    }));
                        var _ = shell.await();
                      }
                      return "";
                    }));
    assertThat(log.stages().getFirst().process())
        .isNotNull()
        .extracting(Stages.Waited::chain)
        .isEqualTo("sh > sleep");
  }

  @Test
  void anOperationShowsTheStagesOfTheWorkItHasJoined() throws Exception {
    Stages.Log shared = new Stages.Log();
    var _ = Stages.<String>record(shared, () -> Stages.<String, Exception>time("fetch", () -> ""));
    Stages.Log log = new Stages.Log();
    var _ =
        Stages.<String>record(
            log,
            () -> {
              Stages.join(shared);
              Stages.join(shared);
              return "";
            });
    assertThat(log.stages()).extracting(Stages.Stage::name).containsExactly("fetch");
  }

  @Test
  void joinedWorkIsWithinTheStageThatWaitsForItThoughItBeganEarlier() throws Exception {
    var shared = new Stages.Log();
    var log = new Stages.Log();
    var _ =
        Stages.<String>record(
            shared, () -> Stages.time("unpack", () -> Stages.time("fetch", () -> "")));
    var _ =
        Stages.<String>record(
            log,
            () ->
                Stages.time(
                    "layers",
                    () -> {
                      Stages.join(shared);
                      return "";
                    }));
    assertThat(log.stages())
        .extracting(Stages.Stage::name, Stages.Stage::depth, Stages.Stage::parent)
        .containsExactly(tuple("layers", 0, -1), tuple("unpack", 1, 0), tuple("fetch", 2, 1));
  }
}
