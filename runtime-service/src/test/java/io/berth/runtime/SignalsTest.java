package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.cri.v1.Signal;
import io.berth.linux.Subprocess;
import io.berth.runtime.ContainerException.Reason;
import java.time.Duration;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SignalsTest {
  /** bash's own list is the measure: it comes from the C library. */
  @Test
  void numbersAreThoseOfTheMachine() throws Exception {
    String list =
        Subprocess.command(
                "/bin/bash", "-c", "for n in {1..31} {34..64}; do echo $n SIG$(kill -l $n); done")
            .run(Duration.ofSeconds(10))
            .out();
    assertThat(list.lines())
        .hasSize(62)
        .allSatisfy(line -> {
          String[] parts = line.split(" ");
          assertThat(Signals.number(parts[1])).as(line).isEqualTo(Integer.parseInt(parts[0]));
          assertThat(Signals.canonical(parts[0])).as(line).isEqualTo(parts[1]);
        });
  }

  /** Every name that CRI has, there and back. */
  @Test
  void everySignalOfCriHasANumberAndComesBack() {
    Set<Integer> realtime = new TreeSet<>();
    for (Signal signal : Signal.values()) {
      if (signal == Signal.SIGNAL_RUNTIME_DEFAULT || signal == Signal.UNRECOGNIZED) {
        continue;
      }
      String name =
          signal.name().substring("SIGNAL_".length()).replace("PLUS", "+").replace("MINUS", "-");
      int number = Signals.number(name);
      assertThat(number).as(name).isBetween(1, 64);
      if (number >= 34) {
        realtime.add(number);
      }
      assertThat(Signals.canonical(name)).isEqualTo(name);
      assertThat(GrpcRequests.signalOf(name)).isEqualTo(signal);
    }
    assertThat(realtime).hasSize(31);
  }

  @ParameterizedTest
  @CsvSource({
    "term,SIGTERM",
    " SIGQUIT ,SIGQUIT",
    "9,SIGKILL",
    "09,SIGKILL",
    "6,SIGABRT",
    "17,SIGCHLD",
    "29,SIGIO",
    "34,SIGRTMIN",
    "37,SIGRTMIN+3",
    "rtmin+3,SIGRTMIN+3",
    "SIGRTMIN+0,SIGRTMIN",
    "SIGRTMIN+16,SIGRTMAX-14",
    "RTMAX-29,SIGRTMIN+1",
    "64,SIGRTMAX",
    "SIGIOT,SIGIOT"
  })
  void signalsOfImagesComeInManyForms(String text, String canonical) {
    assertThat(Signals.canonical(text)).isEqualTo(canonical);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "0",
        "00",
        "32",
        "33",
        "65",
        "99",
        "100",
        "-9",
        "SIG",
        "SIGSIGTERM",
        "NONE",
        "TERM;ls",
        "RTMIN+31",
        "RTMIN+",
        "RTMIN-1",
        "RTMAX-31",
        "RTMAX-40",
        "RTMAX+1",
        "SIGRTMIN+999"
      })
  void noOtherTextIsASignal(String text) {
    assertThatThrownBy(() -> Signals.canonical(text))
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.INVALID))
        .hasMessageContaining("there is no such signal");
  }
}
