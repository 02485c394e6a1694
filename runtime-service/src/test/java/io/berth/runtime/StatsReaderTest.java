package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.ContainerStats;
import io.berth.linux.Cgroups;
import io.berth.snapshot.Snapshotter;
import io.berth.snapshot.Usage;
import java.io.IOException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class StatsReaderTest {
  private static final Container CONTAINER =
      Containers.of(Containers.id("aa"), "web", ContainerState.RUNNING);

  @TempDir Path root;

  private void file(String path, String content) throws IOException {
    Path file = root.resolve(path.replace("POD", CONTAINER.cgroup().substring(1)));
    Files.createDirectories(file.getParent());
    Files.writeString(file, content);
  }

  private StatsReader.Sample sample() {
    Snapshotter usageOnly =
        (Snapshotter)
            Proxy.newProxyInstance(
                getClass().getClassLoader(),
                new Class<?>[] {Snapshotter.class},
                (_, method, arguments) -> {
                  assertThat(method.getName()).isEqualTo("usage");
                  assertThat(arguments).containsExactly(CONTAINER.id().value());
                  return new Usage(8192, 3);
                });
    return new StatsReader(Cgroups.detect(root), usageOnly).read(CONTAINER);
  }

  private void v2() throws IOException {
    file("cgroup.controllers", "cpu memory\n");
    file("POD/memory.current", "1000000\n");
    file("POD/memory.max", "3000000\n");
    file("POD/memory.swap.current", "4096\n");
    file(
        "POD/memory.stat",
        "anon 500000\nfile 400000\ninactive_file 100000\npgfault 77\npgmajfault 3\n");
    file("POD/cpu.stat", "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n");
  }

  @Test
  void unifiedHierarchyIsReadInItsUnits() throws Exception {
    v2();
    StatsReader.Sample sample = sample();
    assertThat(sample.cpuNanos()).hasValue(1_500_000);
    assertThat(sample.memory()).hasValue(1_000_000);
    assertThat(sample.workingSet()).hasValue(900_000);
    assertThat(sample.available()).hasValue(2_100_000);
    assertThat(sample.rss()).hasValue(500_000);
    assertThat(sample.faults()).hasValue(77);
    assertThat(sample.majorFaults()).hasValue(3);
    assertThat(sample.swap()).hasValue(4096);
    assertThat(sample.writableLayer()).contains(new Usage(8192, 3));
  }

  @Test
  void withoutALimitNothingIsSaidOfWhatIsAvailable() throws Exception {
    v2();
    file("POD/memory.max", "max\n");
    assertThat(sample().available()).isEmpty();
  }

  @Test
  void linesOfAnotherShapeAreSkipped() throws Exception {
    v2();
    file("POD/memory.stat", "anon 5\n\nstrange\nhuge 99999999999999999999\na b c\npgfault 7\n");
    StatsReader.Sample sample = sample();
    assertThat(sample.rss()).hasValue(5);
    assertThat(sample.faults()).hasValue(7);
    assertThat(sample.workingSet()).isEmpty();
  }

  @Test
  void controllersOfV1AreReadWhereTheyAre() throws Exception {
    for (String controller : new String[] {"memory", "cpu,cpuacct"}) {
      file(controller + "/cgroup.procs", "1\n");
    }
    file("memory/POD/memory.usage_in_bytes", "1000000\n");
    file("memory/POD/memory.limit_in_bytes", "9223372036854771712\n");
    file("memory/POD/memory.memsw.usage_in_bytes", "1004096\n");
    file(
        "memory/POD/memory.stat",
        """
        inactive_file 1
        total_inactive_file 1200000
        total_rss 5
        total_pgfault 7
        total_pgmajfault 1
        """);
    file("cpu,cpuacct/POD/cpuacct.usage", "123456789\n");
    StatsReader.Sample sample = sample();
    assertThat(sample.cpuNanos()).hasValue(123_456_789);
    assertThat(sample.workingSet()).as("never negative").hasValue(0);
    assertThat(sample.available()).as("no limit").isEmpty();
    assertThat(sample.swap()).hasValue(4096);
    assertThat(sample.rss()).hasValue(5);
    assertThat(sample.faults()).hasValue(7);
    assertThat(sample.majorFaults()).hasValue(1);
  }

  @Test
  void unknownIsAbsentNotZero() throws Exception {
    file("cgroup.controllers", "");
    StatsReader.Sample sample = sample();
    assertThat(sample.cpuNanos()).isEqualTo(OptionalLong.empty());
    assertThat(sample.memory()).isEmpty();
    ContainerStats stats = GrpcAnswers.stats(CONTAINER, sample, Path.of("/var/lib/x"));
    assertThat(stats.hasCpu()).isTrue();
    assertThat(stats.getCpu().hasUsageCoreNanoSeconds()).isFalse();
    assertThat(stats.getMemory().hasWorkingSetBytes()).isFalse();
    assertThat(stats.hasSwap()).isFalse();
    assertThat(stats.getWritableLayer().getUsedBytes().getValue()).isEqualTo(8192);
    assertThat(stats.getWritableLayer().getFsId().getMountpoint()).isEqualTo("/var/lib/x");
  }

  @Test
  void endedContainerUsesOnlyItsLayer() throws Exception {
    v2();
    Container ended = CONTAINER.exited(new Container.Exit(0, "Completed", "", 5));
    ContainerStats stats = GrpcAnswers.stats(ended, sample(), Path.of("/x"));
    assertThat(stats.hasCpu() || stats.hasMemory() || stats.hasSwap()).isFalse();
    assertThat(stats.hasWritableLayer()).isTrue();
  }
}
