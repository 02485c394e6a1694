package io.berth.bench;

import io.berth.linux.Debt;
import io.berth.linux.Rollback;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** A pod with one container through the calls that a kubelet makes, each timed. */
final class PodLife implements Life {
  static final String RUN_POD = "RunPodSandbox";
  static final String CREATE = "CreateContainer";
  static final String START = "StartContainer";
  static final String EXEC = "ExecSync";
  static final String STOP = "StopContainer";
  static final String REMOVE = "RemoveContainer";
  static final String STOP_POD = "StopPodSandbox";
  static final String REMOVE_POD = "RemovePodSandbox";

  private final CriClient client;
  private final Template template;
  private final boolean hostNetwork;

  /**
   * What all pods have in common.
   *
   * @param handler the runtime handler; empty is the daemon's default
   * @param command runs until it is killed
   */
  record Template(String image, String handler, Path logFolder, List<String> command) {}

  PodLife(CriClient client, Template template, boolean hostNetwork) {
    this.client = client;
    this.template = template;
    this.hostNetwork = hostNetwork;
  }

  @Override
  public StepTimes live(String name) throws InterruptedException {
    var times = new StepTimes();
    try (var rollback = new Rollback("live as " + name, Leftovers.REPORTED)) {
      String podId = begin(name, times, rollback);
      String id = container(podId, name, times);
      CriClient.Output output = times.time(EXEC, () -> client.exec(id, List.of("true")));
      if (output.exitCode() != 0) {
        throw new BenchException(
            BenchException.Reason.CALL, "true in " + id + ": " + output.stderr(), null);
      }
      times.run(STOP, () -> client.stopContainer(id, Duration.ZERO));
      times.run(REMOVE, () -> client.removeContainer(id));
      times.run(STOP_POD, () -> client.stopPod(podId));
      times.run(REMOVE_POD, () -> client.removePod(podId));
      rollback.commit();
    }
    return times;
  }

  /** A pod with its container running, for a measurement of many that are there at once. */
  Running start(String name) throws InterruptedException {
    var times = new StepTimes();
    try (var rollback = new Rollback("start " + name, Leftovers.REPORTED)) {
      String podId = begin(name, times, rollback);
      String id = container(podId, name, times);
      rollback.commit();
      return new Running(podId, id);
    }
  }

  record Running(String podId, String containerId) {}

  private String begin(String name, StepTimes times, Rollback rollback)
      throws InterruptedException {
    CriClient.Pod pod = pod(name);
    String podId = times.time(RUN_POD, () -> client.runPod(pod));
    rollback.add(
        new Debt("remove-pod", podId, Map.of()),
        () -> {
          client.stopPod(podId);
          client.removePod(podId);
        });
    return podId;
  }

  private String container(String podId, String name, StepTimes times) throws InterruptedException {
    String id =
        times.time(
            CREATE,
            () ->
                client.createContainer(
                    podId, pod(name), "main", template.image(), template.command()));
    times.run(START, () -> client.startContainer(id));
    return id;
  }

  private CriClient.Pod pod(String name) {
    return new CriClient.Pod(
        name, template.handler(), hostNetwork, template.logFolder().resolve(name));
  }
}
