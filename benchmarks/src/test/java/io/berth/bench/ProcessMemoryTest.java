package io.berth.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;

final class ProcessMemoryTest {
  @Test
  void proportionalSizeIsReadFromItsOwnLine() {
    assertThat(
            ProcessMemory.pss(
                """
                00400000-7ffd8b9f7000 ---p 00000000 00:00 0    [rollup]
                Rss:                1234 kB
                Pss:                 100 kB
                Pss_Dirty:            90 kB
                """))
        .isEqualTo(100 << 10);
  }

  @Test
  void thisProcessHasASize() {
    assertThat(ProcessMemory.pss((int) ProcessHandle.current().pid())).isGreaterThan(1 << 20);
  }

  @Test
  void helpersAreFoundByTheIdsOnTheirCommandLines() throws Exception {
    String id = "pod-of-" + ProcessHandle.current().pid() + "-" + System.nanoTime();
    // A process named sleep; the shell that started it is gone by exec.
    Process helper = new ProcessBuilder("sh", "-c", "read _", id).start();
    try {
      assertThat(ProcessMemory.helpers(List.of(id)).get("sh"))
          .singleElement()
          .satisfies(pss -> assertThat(pss).isPositive());
    } finally {
      helper.destroyForcibly().waitFor();
    }
    assertThat(ProcessMemory.helpers(List.of(id))).isEmpty();
  }
}
