package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.ContainerConfig;
import io.berth.e2e.StreamClients.Client;
import java.io.IOException;
import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Clients that read too slowly, stop reading or go away, and what they cost the others. */
@Timeout(value = 10, unit = TimeUnit.MINUTES, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class SlowClientsIT extends StreamingPod {
  private static final Duration SOON = Duration.ofMinutes(2);
  private static final String TALKER = "i=0; while :; do i=$((i+1)); echo line $i; done";

  SlowClientsIT(DockerRegistry registry) {
    super(registry, "slow");
  }

  private String start(String script) throws InterruptedException {
    ContainerConfig.Builder container =
        sh("talker", script)
            .setStdin(true)
            // Its log would fill the disk.
            .putAnnotations("berth.io/log-max-size", "1MiB");
    return crictl.start(podId, container, pod);
  }

  @ParameterizedTest
  @ValueSource(strings = {"spdy", "websocket"})
  void readersOfEndlessOutputHoldLittleOfTheDaemonsMemory(String transport) throws Exception {
    int readers = 20;
    String container = start("sleep 3600");
    // The first ones fill pools and caches, which stay.
    openReaders(transport, container, readers);
    clients.close();
    Await.until("they are gone", SOON, () -> running(container, "yes") == 0);
    Footprint.awaitQuiet(daemon.pid(), SOON);
    long before = Footprint.memory(daemon.pid());

    List<Client> open = openReaders(transport, container, readers);
    for (int second = 0; second < 3; second++) {
      for (Client client : open) {
        assertThat(client.process().getInputStream().read()).isIn((int) 'y', (int) '\n');
      }
    }
    long after = Footprint.memory(daemon.pid());
    assertThat(running(container, "yes")).isEqualTo(readers);
    assertThat(after - before).isLessThanOrEqualTo((long) readers << 20);
  }

  /** Each has been served as much as it takes before it reads. */
  private List<Client> openReaders(String transport, String container, int count)
      throws IOException, InterruptedException {
    var open = new ArrayList<Client>();
    for (int i = 0; i < count; i++) {
      open.add(clients.exec(transport, container, false, List.of(), "yes"));
    }
    for (Client client : open) {
      assertThat(client.process().getInputStream().read()).isEqualTo('y');
    }
    Footprint.awaitQuiet(daemon.pid(), SOON);
    return open;
  }

  private long running(String container, String program) throws InterruptedException {
    return crictl
        .run("exec", "-s", container, "ps", "-o", "comm")
        .lines()
        .filter(line -> line.strip().equals(program))
        .count();
  }

  @ParameterizedTest
  @ValueSource(strings = {"spdy", "websocket"})
  void attachedClientThatTakesNothingIsDetachedAndTheContainerGoesOn(String transport)
      throws Exception {
    String container = start(TALKER);
    Client stuck = clients.attach(transport, container, false, false);
    assertThat(stuck.line()).isNotEmpty();
    Client reader = clients.attach(transport, container, false, false);
    assertThat(reader.line()).isNotEmpty(); // it may begin in the middle of one
    // More than all the pipes and buffers on the way to the stuck one can hold.
    for (int i = 0; i < 3_000_000; i += 1000) {
      long first = number(reader.line());
      for (int j = 1; j < 1000; j++) {
        assertThat(number(reader.line())).isEqualTo(first + j);
      }
    }
    // Now that it reads, it finds what was on its way, and the end.
    String rest = stuck.rest();
    assertThat(rest).isNotEmpty();
    assertThat(stuck.errors()).contains("has taken no output for 10 s");
    assertThat(stuck.exitCode()).isNotZero();
    assertThat(number(reader.line())).isPositive();
  }

  private static long number(String line) {
    return Long.parseLong(line.substring("line ".length()));
  }

  @ParameterizedTest
  @ValueSource(strings = {"spdy", "websocket"})
  void twoHundredAttachesBrokenOffLeaveNothing(String transport) throws Exception {
    String container = start(TALKER);
    long conmon =
        Long.parseLong(
            Files.readString(
                    daemon
                        .runFolder()
                        .resolve("containers")
                        .resolve(container)
                        .resolve("conmon.pid"))
                .strip());
    abort(transport, container, 20); // fills pools, which stay
    Footprint daemonBefore = Footprint.of(daemon.pid());
    Footprint conmonBefore = Footprint.of(conmon);

    abort(transport, container, 200);
    Await.until(
        "the daemon is as before: " + daemonBefore,
        SOON,
        () -> Footprint.of(daemon.pid()).within(daemonBefore));
    Await.until(
        "conmon is as before: " + conmonBefore,
        SOON,
        () -> Footprint.of(conmon).within(conmonBefore));
    Client reader = clients.attach(transport, container, false, false);
    assertThat(reader.line()).isNotEmpty(); // it may begin in the middle of one
    long first = number(reader.line());
    assertThat(number(reader.line())).isEqualTo(first + 1);
  }

  private void abort(String transport, String container, int times) throws Exception {
    for (int done = 0; done < times; done += 10) {
      var batch = new ArrayList<Client>();
      for (int i = 0; i < 10; i++) {
        // Some leave after the first packet, some in the middle of many.
        batch.add(
            clients.attach(
                transport,
                container,
                i % 2 == 0,
                false,
                List.of("-abort-after", String.valueOf(1 + 20_000 * i))));
      }
      for (Client client : batch) {
        String errors = client.errors();
        assertThat(client.exitCode()).as(errors).isZero();
      }
    }
  }
}
