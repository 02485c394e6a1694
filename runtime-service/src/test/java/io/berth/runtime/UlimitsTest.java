package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.oci.RuntimeSpec.Rlimit;
import java.util.List;
import org.junit.jupiter.api.Test;

class UlimitsTest {
  private static final List<String> OWN =
      List.of(
          "Limit                     Soft Limit           Hard Limit           Units     ",
          "Max core file size        0                    unlimited            bytes     ",
          "Max open files            4096                 20000                files     ");

  @Test
  void oneNumberIsBothLimits() {
    assertThat(Ulimits.parse(List.of("nofile=1024:524288", "core=-1")))
        .containsExactly(
            new Rlimit("RLIMIT_NOFILE", 524288, 1024), new Rlimit("RLIMIT_CORE", -1, -1));
  }

  @Test
  void nothingIsGivenThatTheDaemonDoesNotHave() {
    assertThat(Ulimits.within(new Rlimit("RLIMIT_NOFILE", 524288, 1024), OWN))
        .isEqualTo(new Rlimit("RLIMIT_NOFILE", 20000, 1024));
    assertThat(Ulimits.within(new Rlimit("RLIMIT_NOFILE", -1, -1), OWN))
        .isEqualTo(new Rlimit("RLIMIT_NOFILE", 20000, 20000));
    assertThat(Ulimits.within(new Rlimit("RLIMIT_CORE", -1, 5), OWN))
        .isEqualTo(new Rlimit("RLIMIT_CORE", -1, 5));
    List<Rlimit> all = List.of(new Rlimit("RLIMIT_NOFILE", -1, -1));
    assertThat(Ulimits.withinOwn(all, true)).isEqualTo(all);
  }
}
