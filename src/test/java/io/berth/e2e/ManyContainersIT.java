package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.berth.cri.v1.Container;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerState;
import io.berth.cri.v1.ListContainersRequest;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.StreamContainersRequest;
import io.berth.cri.v1.StreamContainersResponse;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** More ended containers than one message can hold, as a node gets that nobody tidies. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class ManyContainersIT {
  private static final int COUNT = 20_000;
  private static final int LABEL = 1000; // bytes, so that all together pass 16 MiB
  private static final int PART_LIMIT = 4 << 20;
  private static final Duration SOON = Duration.ofSeconds(60);

  private final DockerRegistry registry;

  ManyContainersIT(DockerRegistry registry) {
    this.registry = registry;
  }

  @Test
  void twentyThousandEndedContainersAreListedInParts() throws Exception {
    try (var daemon = BerthDaemon.with().registry(registry.address()).start()) {
      daemon.crictl().run("pull", Requests.BUSYBOX);
      String id = endedContainer(daemon);
      daemon.stop();
      // Copies of its record: to make as many by the kubelet's calls would take hours.
      Path records = daemon.rootFolder().resolve("containers");
      List<Path> copies = copy(records.resolve(id + ".json"), id);
      try {
        daemon.restart();
        var runtime = daemon.client().runtime().withDeadlineAfter(10, TimeUnit.MINUTES);
        Set<String> ids = new HashSet<>();
        int parts = 0;
        var stream = runtime.streamContainers(StreamContainersRequest.getDefaultInstance());
        while (stream.hasNext()) {
          StreamContainersResponse part = stream.next();
          parts++;
          assertThat(part.getSerializedSize()).isLessThan(PART_LIMIT);
          for (Container container : part.getContainersList()) {
            assertThat(container.getState()).isEqualTo(ContainerState.CONTAINER_EXITED);
            ids.add(container.getId());
          }
        }
        assertThat(ids).hasSize(COUNT + 1).contains(id);
        assertThat(parts).isGreaterThan(1);
        assertThat(
                catchThrowableOfType(
                        StatusRuntimeException.class,
                        () -> runtime.listContainers(ListContainersRequest.getDefaultInstance()))
                    .getStatus()
                    .getCode())
            .as("in one message they are refused by the client")
            .isEqualTo(Status.Code.RESOURCE_EXHAUSTED);
      } finally {
        daemon.stop();
        for (Path copy : copies) {
          Files.delete(copy);
        }
        daemon.restart();
      }
    }
  }

  private static String endedContainer(BerthDaemon daemon) throws InterruptedException {
    try (var life = new PodLife(daemon.socket(), () -> 60_000)) {
      PodSandboxConfig config = Requests.pod(daemon, "untidy").build();
      String pod = life.run(config);
      ContainerConfig.Builder container =
          Requests.container("main", Requests.BUSYBOX, List.of("true"));
      container.putLabels("e2e/long", "x".repeat(LABEL));
      String id = life.create(pod, config, container.build());
      life.start(id);
      Await.until(
          "its end", SOON, () -> life.status(id).getState() == ContainerState.CONTAINER_EXITED);
      return id;
    }
  }

  private static List<Path> copy(Path record, String id) throws Exception {
    var json = new JsonMapper();
    List<Path> copies = new ArrayList<>();
    String text = Files.readString(record);
    for (int i = 1; i <= COUNT; i++) {
      String other = "%064x".formatted(i);
      ObjectNode copy = (ObjectNode) json.readTree(text.replace(id, other));
      ((ObjectNode) copy.get("config")).put("attempt", i);
      copy.remove("crc32c"); // as whoever edits a record
      Path file = record.resolveSibling(other + ".json");
      copies.add(file);
      json.writeValue(file.toFile(), copy);
    }
    return copies;
  }
}
