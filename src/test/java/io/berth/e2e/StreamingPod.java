package io.berth.e2e;

import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.PodSandboxConfig;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;

/** A daemon of its own with one pod for each test, and clients at its streams. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
abstract class StreamingPod {
  private final DockerRegistry registry;
  private final String name;
  BerthDaemon daemon;
  Crictl crictl;
  StreamClients clients;
  PodSandboxConfig.Builder pod;
  String podId;

  StreamingPod(DockerRegistry registry, String name) {
    this.registry = registry;
    this.name = name;
  }

  @BeforeEach
  @SuppressWarnings("MustBeClosedChecker") // closed after each test
  void startPod() throws Exception {
    daemon = BerthDaemon.with().registry(registry.address()).start();
    clients = new StreamClients(daemon);
    crictl = daemon.crictl();
    crictl.run("pull", Requests.BUSYBOX);
    pod = Requests.pod(daemon, name);
    podId = crictl.runPod(pod);
  }

  @AfterEach
  void end() throws Exception {
    clients.close();
    daemon.close();
  }

  static ContainerConfig.Builder sh(String name, String script) {
    return Requests.container(name, Requests.BUSYBOX, List.of("sh", "-c", script));
  }
}
