package io.berth.e2e;

import com.fasterxml.jackson.databind.json.JsonMapper;
import io.berth.admin.v1.DebtsRequest;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerState;
import io.berth.cri.v1.ContainerStatus;
import io.berth.cri.v1.ContainerStatusRequest;
import io.berth.cri.v1.LinuxContainerResources;
import io.berth.cri.v1.PodSandboxConfig;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.TestInfo;

/** A test's pods on an {@link InstalledBerth}, and the calls that it makes on them. */
final class InstalledPods implements AutoCloseable {
  /** Imported from an archive, as that machine has no network. */
  static final String IMAGE = "berth.test/busybox:1";

  private final InstalledBerth berth;
  private final PodLife life =
      new PodLife(InstalledBerth.SOCKET, () -> InstalledBerth.PATIENCE.toMillis());
  private final List<String> pods = new ArrayList<>();

  InstalledPods(InstalledBerth berth) {
    this.berth = berth;
  }

  PodLife life() {
    return life;
  }

  static PodSandboxConfig.Builder pod(String name) {
    return Requests.pod(InstalledBerth.LOGS.resolve(name), name, Requests.ORDINARY);
  }

  static ContainerConfig container(String name, LinuxContainerResources resources) {
    return container(name, Requests.SLEEP, resources);
  }

  static ContainerConfig container(
      String name, List<String> command, LinuxContainerResources resources) {
    ContainerConfig.Builder container = Requests.container(name, IMAGE, command);
    container.getLinuxBuilder().setResources(resources);
    return container.build();
  }

  /** The pod goes with {@link #removeAll}. */
  String run(PodSandboxConfig pod, String handler) throws InterruptedException {
    String id = life.run(pod, handler);
    pods.add(id);
    return id;
  }

  String started(String podId, PodSandboxConfig pod, ContainerConfig container)
      throws InterruptedException {
    String id = life.create(podId, pod, container);
    life.start(id);
    return id;
  }

  /** Waits for the end of a container. */
  ContainerStatus ended(String id) throws InterruptedException {
    Await.until(
        "end of " + id,
        InstalledBerth.PATIENCE,
        () -> life.status(id).getState() == ContainerState.CONTAINER_EXITED);
    return life.status(id);
  }

  /** Of its first process, as the machine counts. */
  static long pid(String container) throws IOException {
    try (var client = new CriClient(InstalledBerth.SOCKET)) {
      String info =
          client
              .runtime()
              .containerStatus(
                  ContainerStatusRequest.newBuilder()
                      .setContainerId(container)
                      .setVerbose(true)
                      .build())
              .getInfoOrThrow("info");
      return JsonMapper.builder().build().readTree(info).get("pid").asLong();
    }
  }

  /** The units that systemd has for pods and containers. */
  static List<String> units() throws InterruptedException {
    return InstalledBerth.systemctl(
            "list-units", "--all", "--plain", "--no-legend", "berth-*", "node-*.slice")
        .lines()
        .toList();
  }

  private static List<String> debts() {
    try (var client = new CriClient(InstalledBerth.SOCKET)) {
      return client.admin().debts(DebtsRequest.getDefaultInstance()).getDebtsList().stream()
          .map(Object::toString)
          .toList();
    }
  }

  /** Removes them, and sees that neither a unit nor a debt is left. */
  void removeAll(TestInfo test) throws InterruptedException {
    try {
      for (String pod : pods) {
        life.stopPod(pod);
        life.removePod(pod);
      }
      Await.until("no debts", InstalledBerth.PATIENCE, () -> debts().isEmpty());
      Await.until("no units left", InstalledBerth.PATIENCE, () -> units().isEmpty());
    } catch (AssertionError left) {
      throw new AssertionError(
          test.getDisplayName() + " leaves " + units() + debts() + berth.log(), left);
    } finally {
      pods.clear();
    }
  }

  /** Ends the daemon, too. */
  @Override
  public void close() {
    life.close();
    try {
      berth.systemd("stop");
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
