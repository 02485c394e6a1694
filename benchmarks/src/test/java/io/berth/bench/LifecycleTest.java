package io.berth.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

final class LifecycleTest {
  private final Queue<String> lived = new ConcurrentLinkedQueue<>();

  private StepTimes note(String name) {
    lived.add(name);
    return new StepTimes();
  }

  @Test
  void podAndFloorTakeTurns() throws InterruptedException {
    var lives = new LifecycleBenchmark(this::note, this::note).run("x", 5, 3, 1);
    assertThat(lives.runtime()).hasSize(3);
    assertThat(lives.floor()).hasSize(3);
    assertThat(lived)
        .startsWith("px-0-0", "fx-0-0", "px-1-0", "fx-1-0")
        .hasSize(16) // with five pairs to warm up
        .doesNotHaveDuplicates();
  }

  @Test
  void asManyLiveAtOnceAsAsked() throws InterruptedException {
    // Nobody passes before eight have arrived.
    var meeting = new CyclicBarrier(8);
    Life life =
        name -> {
          meeting.await(10, TimeUnit.SECONDS);
          return note(name);
        };
    var lives = new LifecycleBenchmark(life, life).run("x", 5, 9, 8);
    assertThat(lives.runtime()).as("rounded up to whole rounds").hasSize(16);
  }

  @Test
  void failureOfOneLifeEndsTheRunWithItsWords() {
    Life broken =
        _ -> {
          throw new BenchException(BenchException.Reason.CALL, "RunPodSandbox: no network", null);
        };
    assertThatThrownBy(() -> new LifecycleBenchmark(this::note, broken).run("x", 5, 1, 2))
        .isInstanceOf(BenchException.class)
        .hasMessage("RunPodSandbox: no network");
  }

  @Test
  void reportSetsEachCallBesideItsFloor() throws InterruptedException {
    StepTimes pod = times(PodLife.RUN_POD, PodLife.CREATE, PodLife.START);
    StepTimes floor = times(FloorLife.ADD, FloorLife.CREATE, FloorLife.START);
    String table = LifecycleReport.table(List.of(pod), List.of(floor), true).toString();
    assertThat(table.lines().filter(line -> line.startsWith("| RunPodSandbox ")))
        .singleElement()
        .asString()
        .contains("CNI ADD", "≤ 1.30");
    assertThat(table.lines().filter(line -> line.startsWith("| CreateContainer + ")))
        .singleElement()
        .asString()
        .contains("create + start", "≤ 1.60");
    assertThat(table.lines().filter(line -> line.startsWith("| RemovePodSandbox ")))
        .singleElement()
        .asString()
        .matches("(\\|[^|]+){4}(\\| +){5}\\|");
  }

  @Test
  void hostNetworkHasNoFloorForThePod() throws InterruptedException {
    String table =
        LifecycleReport.table(
                List.of(times(PodLife.RUN_POD, PodLife.CREATE)),
                List.of(times(FloorLife.CREATE)),
                false)
            .toString();
    assertThat(table).doesNotContain("CNI ADD").doesNotContain("≤");
  }

  @Test
  void sumLeavesOutWhatWasNotLived() throws InterruptedException {
    StepTimes times = times("a", "b");
    assertThat(times.sum(List.of("a", "b", "c"))).isEqualTo(times.total());
    assertThat(times.sum(List.of("c"))).isEqualTo(Duration.ZERO);
  }

  private static StepTimes times(String... steps) throws InterruptedException {
    var times = new StepTimes();
    for (String step : steps) {
      times.run(step, () -> Thread.onSpinWait());
    }
    return times;
  }
}
