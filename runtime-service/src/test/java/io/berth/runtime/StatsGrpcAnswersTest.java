package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.ContainerStats;
import io.berth.snapshot.Usage;
import io.berth.stats.CgroupUsage;
import io.berth.stats.CostlyCounts;
import io.berth.stats.Pressure;
import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class StatsGrpcAnswersTest {
  private static final Container CONTAINER =
      Containers.of(Containers.id("aa"), "web", ContainerState.RUNNING);
  private static final OptionalLong UNKNOWN = OptionalLong.empty();

  private final StatsGrpcAnswers answers = new StatsGrpcAnswers(Path.of("/var/lib/x"));

  private static CgroupUsage usage(
      OptionalLong cpu, OptionalLong memory, OptionalLong swap, @Nullable Pressure pressure) {
    return new CgroupUsage(
        77, cpu, UNKNOWN, memory, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, swap, UNKNOWN,
        UNKNOWN, pressure, null, pressure);
  }

  private ContainerStats answer(@Nullable CgroupUsage usage) {
    return answers.container(
        new UsageReports.OfContainer(
            CONTAINER,
            Optional.ofNullable(usage),
            Optional.of(new CostlyCounts.Counted<>(new Usage(8192, 3), 99))));
  }

  @Test
  void unknownIsAbsentNotZero() {
    ContainerStats stats = answer(usage(UNKNOWN, OptionalLong.of(5), UNKNOWN, null));
    assertThat(stats.getCpu().getTimestamp()).isEqualTo(77);
    assertThat(stats.getCpu().hasUsageCoreNanoSeconds()).isFalse();
    assertThat(stats.getCpu().hasUsageNanoCores()).isFalse();
    assertThat(stats.getCpu().hasPsi()).isFalse();
    assertThat(stats.getMemory().getUsageBytes().getValue()).isEqualTo(5);
    assertThat(stats.getMemory().hasWorkingSetBytes()).isFalse();
    assertThat(stats.hasSwap()).isFalse();
    assertThat(stats.hasIo()).isFalse();
  }

  @Test
  void pressureIsToldInItsParts() {
    var pressure = new Pressure(new Pressure.Share(5000, 1.5, 0.5, 0.25), null);
    ContainerStats stats = answer(usage(OptionalLong.of(1), UNKNOWN, OptionalLong.of(0), pressure));
    assertThat(stats.getCpu().getPsi().getSome().getTotal()).isEqualTo(5000);
    assertThat(stats.getCpu().getPsi().getSome().getAvg300()).isEqualTo(0.25);
    assertThat(stats.getCpu().getPsi().hasFull()).isFalse();
    assertThat(stats.getMemory().hasPsi()).isFalse();
    assertThat(stats.getIo().getPsi().getSome().getAvg10()).isEqualTo(1.5);
    assertThat(stats.getSwap().getSwapUsageBytes().getValue()).isZero();
    assertThat(stats.getSwap().hasSwapAvailableBytes()).isFalse();
  }

  @Test
  void endedContainerUsesOnlyItsLayer() {
    ContainerStats stats = answer(null);
    assertThat(stats.hasCpu() || stats.hasMemory() || stats.hasSwap()).isFalse();
    assertThat(stats.getWritableLayer().getTimestamp()).isEqualTo(99);
    assertThat(stats.getWritableLayer().getUsedBytes().getValue()).isEqualTo(8192);
    assertThat(stats.getWritableLayer().getInodesUsed().getValue()).isEqualTo(3);
    assertThat(stats.getWritableLayer().getFsId().getMountpoint()).isEqualTo("/var/lib/x");
    assertThat(stats.getAttributes().getMetadata().getName()).isEqualTo("web");
  }
}
