package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** The fixture itself: other tests rely on what it finds, and on what it leaves. */
@Tag("root")
@ExtendWith(DaemonLogs.class)
class BerthDaemonIT {
  @Test
  void restartsOnTheSameStateAndLeavesNoFolder() throws Exception {
    Path folder;
    try (var daemon = BerthDaemon.with().start()) {
      folder = daemon.folder();
      long first = daemon.pid();
      daemon.kill9();
      daemon.restart();
      assertThat(daemon.pid()).isNotEqualTo(first);
      assertThat(daemon.crictl().run("version")).contains("RuntimeName:  berth");
      daemon.stop();
      daemon.restart();
      assertThat(daemon.crictl().run("pods", "-q")).isEmpty();
    }
    assertThat(Files.exists(folder)).isFalse();
  }

  @Test
  void everyTraceOfARunningPodIsFound() throws Exception {
    try (var daemon = BerthDaemon.with().start()) {
      String pod = daemon.crictl().runPod(Requests.pod(daemon, "found"));
      assertThat(new Leftovers(daemon).find())
          .anyMatch(line -> line.startsWith("mount ") && line.contains(pod))
          .anyMatch(line -> line.startsWith("state ") && line.contains(pod))
          .anyMatch(line -> line.startsWith("record ") && line.contains(pod))
          .anyMatch(line -> line.startsWith("address 10.91."))
          .anyMatch(line -> line.startsWith("interface on the bridge veth"))
          .anyMatch(line -> line.startsWith("rule ") && line.contains(daemon.networkName()))
          .anyMatch(line -> line.startsWith("cached network result "));
      assertThatThrownBy(() -> daemon.assertNothingLeft(Duration.ofMillis(1)))
          .hasMessageContaining("left behind:");
    }
  }
}
