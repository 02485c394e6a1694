package io.berth.e2e;

import com.google.errorprone.annotations.CanIgnoreReturnValue;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerState;
import io.berth.cri.v1.ContainerStatus;
import io.berth.cri.v1.ContainerStatusRequest;
import io.berth.cri.v1.CreateContainerRequest;
import io.berth.cri.v1.ExecSyncRequest;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.RemoveContainerRequest;
import io.berth.cri.v1.RemovePodSandboxRequest;
import io.berth.cri.v1.RunPodSandboxRequest;
import io.berth.cri.v1.RuntimeServiceGrpc.RuntimeServiceBlockingStub;
import io.berth.cri.v1.StartContainerRequest;
import io.berth.cri.v1.StopContainerRequest;
import io.berth.cri.v1.StopPodSandboxRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.function.LongSupplier;

/**
 * A client of a daemon that may be killed at any moment: asks as a kubelet does, each call with a
 * deadline, and again with the same request when the daemon was gone or too slow.
 */
final class PodLife implements AutoCloseable {
  private static final Duration PATIENCE = Duration.ofSeconds(60);
  private static final Set<Status.Code> ASK_AGAIN =
      Set.of(Status.Code.UNAVAILABLE, Status.Code.DEADLINE_EXCEEDED, Status.Code.CANCELLED);

  private final Path socket;
  private final LongSupplier deadlineMillis;
  private CriClient client;

  /**
   * @param deadlineMillis asked before each call
   */
  PodLife(Path socket, LongSupplier deadlineMillis) {
    this.socket = socket;
    this.deadlineMillis = deadlineMillis;
    this.client = new CriClient(socket);
  }

  @Override
  public void close() {
    client.close();
  }

  String run(PodSandboxConfig pod) throws InterruptedException {
    return run(pod, "");
  }

  String run(PodSandboxConfig pod, String handler) throws InterruptedException {
    var request =
        RunPodSandboxRequest.newBuilder().setConfig(pod).setRuntimeHandler(handler).build();
    return again(stub -> stub.runPodSandbox(request).getPodSandboxId());
  }

  String create(String podId, PodSandboxConfig pod, ContainerConfig container)
      throws InterruptedException {
    var request =
        CreateContainerRequest.newBuilder()
            .setPodSandboxId(podId)
            .setSandboxConfig(pod)
            .setConfig(container)
            .build();
    return again(stub -> stub.createContainer(request).getContainerId());
  }

  /** A start that came through, though its answer was lost, is told from a failed one by status. */
  void start(String id) throws InterruptedException {
    var request = StartContainerRequest.newBuilder().setContainerId(id).build();
    var _ =
        again(stub -> {
          try {
            return stub.startContainer(request);
          } catch (StatusRuntimeException failure) {
            if (failure.getStatus().getCode() == Status.Code.FAILED_PRECONDITION
                && status(stub, id).getState() != ContainerState.CONTAINER_CREATED) {
              return failure;
            }
            throw failure;
          }
        });
  }

  @CanIgnoreReturnValue
  String exec(String id, String... command) throws InterruptedException {
    var request = ExecSyncRequest.newBuilder().setContainerId(id);
    request.addAllCmd(java.util.List.of(command));
    return again(stub -> {
      var answer = stub.execSync(request.build());
      if (answer.getExitCode() != 0) {
        throw new AssertionError("exec in " + id + " gave " + answer);
      }
      return answer.getStdout().toStringUtf8();
    });
  }

  ContainerStatus status(String id) throws InterruptedException {
    return again(stub -> status(stub, id));
  }

  private static ContainerStatus status(RuntimeServiceBlockingStub stub, String id) {
    return stub.containerStatus(ContainerStatusRequest.newBuilder().setContainerId(id).build())
        .getStatus();
  }

  void stop(String id, long seconds) throws InterruptedException {
    var request = StopContainerRequest.newBuilder().setContainerId(id).setTimeout(seconds).build();
    var _ = again(stub -> stub.stopContainer(request));
  }

  void remove(String id) throws InterruptedException {
    var request = RemoveContainerRequest.newBuilder().setContainerId(id).build();
    var _ = again(stub -> stub.removeContainer(request));
  }

  void stopPod(String id) throws InterruptedException {
    var request = StopPodSandboxRequest.newBuilder().setPodSandboxId(id).build();
    var _ = again(stub -> stub.stopPodSandbox(request));
  }

  void removePod(String id) throws InterruptedException {
    var request = RemovePodSandboxRequest.newBuilder().setPodSandboxId(id).build();
    var _ = again(stub -> stub.removePodSandbox(request));
  }

  private <T> T again(Function<RuntimeServiceBlockingStub, T> call) throws InterruptedException {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (true) {
      try {
        return call.apply(
            client.runtime().withDeadlineAfter(deadlineMillis.getAsLong(), TimeUnit.MILLISECONDS));
      } catch (StatusRuntimeException failure) {
        Status.Code code = failure.getStatus().getCode();
        if (!ASK_AGAIN.contains(code) || System.nanoTime() > end) {
          throw failure;
        }
        if (code == Status.Code.UNAVAILABLE) {
          // A new connection, as the old one would wait longer after each failure.
          client.close();
          client = new CriClient(socket);
          TimeUnit.MILLISECONDS.sleep(50);
        }
      }
    }
  }
}
