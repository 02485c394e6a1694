package io.berth.bench;

import com.google.protobuf.ByteString;
import io.berth.admin.v1.AdminGrpc;
import io.berth.admin.v1.ImportChunk;
import io.berth.admin.v1.ImportLabel;
import io.berth.admin.v1.ImportResponse;
import io.berth.admin.v1.OperationsRequest;
import io.berth.bench.BenchException.Reason;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerMetadata;
import io.berth.cri.v1.ContainerStatsRequest;
import io.berth.cri.v1.ContainerStatusRequest;
import io.berth.cri.v1.CreateContainerRequest;
import io.berth.cri.v1.ExecRequest;
import io.berth.cri.v1.ExecSyncRequest;
import io.berth.cri.v1.ExecSyncResponse;
import io.berth.cri.v1.ImageServiceGrpc;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.ImageStatusRequest;
import io.berth.cri.v1.LinuxContainerConfig;
import io.berth.cri.v1.LinuxContainerSecurityContext;
import io.berth.cri.v1.LinuxPodSandboxConfig;
import io.berth.cri.v1.LinuxSandboxSecurityContext;
import io.berth.cri.v1.ListContainerStatsRequest;
import io.berth.cri.v1.ListContainersRequest;
import io.berth.cri.v1.ListPodSandboxMetricsRequest;
import io.berth.cri.v1.ListPodSandboxRequest;
import io.berth.cri.v1.ListPodSandboxStatsRequest;
import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.NamespaceOption;
import io.berth.cri.v1.PodSandbox;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PodSandboxMetadata;
import io.berth.cri.v1.PodSandboxStatusRequest;
import io.berth.cri.v1.PortForwardRequest;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.RemoveContainerRequest;
import io.berth.cri.v1.RemoveImageRequest;
import io.berth.cri.v1.RemovePodSandboxRequest;
import io.berth.cri.v1.RunPodSandboxRequest;
import io.berth.cri.v1.RuntimeServiceGrpc;
import io.berth.cri.v1.StartContainerRequest;
import io.berth.cri.v1.StatusRequest;
import io.berth.cri.v1.StopContainerRequest;
import io.berth.cri.v1.StopPodSandboxRequest;
import io.berth.cri.v1.VersionRequest;
import io.berth.cri.v1.VersionResponse;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.BlockingClientCall;
import io.netty.bootstrap.Bootstrap;
import io.netty.channel.Channel;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.epoll.EpollDomainSocketChannel;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.unix.DomainSocketAddress;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The calls of a kubelet, blocking, over one connection to a unix socket; any number of threads may
 * use it. Every method throws {@link BenchException} with the runtime's own words when a call
 * fails.
 */
final class CriClient implements AutoCloseable {
  /** Pods of the benchmark and of the demo are told from others by it. */
  static final String NAMESPACE = "berth-bench";

  private static final Pattern PID = Pattern.compile("\"pid\":\\s*(\\d+)");
  private static final int MESSAGE_LIMIT = 16 << 20;
  private static final int PIECE = 1 << 20;
  private static final Duration CALL_DEADLINE = Duration.ofMinutes(2);
  private static final Duration PULL_DEADLINE = Duration.ofMinutes(10);

  private final Path socket;
  private final EventLoopGroup eventLoop =
      new MultiThreadIoEventLoopGroup(1, EpollIoHandler.newFactory());
  private final ManagedChannel channel;

  /**
   * A pod to be made.
   *
   * @param handler the runtime handler; empty is the daemon's default
   * @param logFolder absolute; its containers' logs are {@code NAME.log} in it
   */
  record Pod(String name, String handler, boolean hostNetwork, Path logFolder) {}

  /** What a command said, both streams as UTF-8. */
  record Output(int exitCode, String stdout, String stderr) {}

  /**
   * One reading.
   *
   * @param at when it was taken, nanoseconds since 1970
   * @param cpuNanos processor time used since the container began
   * @param memoryBytes the working set
   */
  record Stats(long at, long cpuNanos, long memoryBytes) {}

  /** A call as the daemon saw it. */
  record Operation(
      String method, String object, Instant startedAt, Duration took, List<Stage> stages) {}

  record Stage(String name, Duration took) {}

  CriClient(Path socket) {
    this.socket = socket;
    channel =
        NettyChannelBuilder.forAddress(new DomainSocketAddress(socket.toFile()))
            .channelType(EpollDomainSocketChannel.class)
            .eventLoopGroup(eventLoop)
            // HTTP/2 wants an authority, which a socket file does not have.
            .overrideAuthority("localhost")
            .maxInboundMessageSize(MESSAGE_LIMIT)
            .usePlaintext()
            .directExecutor()
            .build();
  }

  /** Name and version of the runtime. */
  String version() {
    VersionResponse version =
        call("Version", () -> runtime().version(VersionRequest.getDefaultInstance()));
    return version.getRuntimeName() + " " + version.getRuntimeVersion();
  }

  /**
   * @return the pod's id
   */
  String runPod(Pod pod) {
    var request =
        RunPodSandboxRequest.newBuilder()
            .setConfig(config(pod))
            .setRuntimeHandler(pod.handler())
            .build();
    return call(
        "RunPodSandbox " + pod.name(), () -> runtime().runPodSandbox(request).getPodSandboxId());
  }

  /**
   * @return the container's id
   */
  String createContainer(String podId, Pod pod, String name, String image, List<String> command) {
    var container =
        ContainerConfig.newBuilder()
            .setMetadata(ContainerMetadata.newBuilder().setName(name))
            .setImage(ImageSpec.newBuilder().setImage(image))
            .addAllCommand(command)
            .setLogPath(name + ".log")
            .putAllLabels(labels(pod))
            .putLabels("io.kubernetes.container.name", name)
            .setLinux(
                LinuxContainerConfig.newBuilder()
                    .setSecurityContext(
                        LinuxContainerSecurityContext.newBuilder()
                            .setNamespaceOptions(namespaces(pod))));
    var request =
        CreateContainerRequest.newBuilder()
            .setPodSandboxId(podId)
            .setConfig(container)
            .setSandboxConfig(config(pod))
            .build();
    return call(
        "CreateContainer " + name + " of " + podId,
        () -> runtime().createContainer(request).getContainerId());
  }

  void startContainer(String id) {
    var request = StartContainerRequest.newBuilder().setContainerId(id).build();
    call("StartContainer " + id, () -> runtime().startContainer(request));
  }

  Output exec(String id, List<String> command) {
    var request =
        ExecSyncRequest.newBuilder().setContainerId(id).addAllCmd(command).setTimeout(60).build();
    ExecSyncResponse answer = call("ExecSync in " + id, () -> runtime().execSync(request));
    return new Output(
        answer.getExitCode(), answer.getStdout().toStringUtf8(), answer.getStderr().toStringUtf8());
  }

  /** Where a client gets a command's standard output. */
  String execUrl(String id, List<String> command) {
    var request =
        ExecRequest.newBuilder().setContainerId(id).addAllCmd(command).setStdout(true).build();
    return call("Exec in " + id, () -> runtime().exec(request)).getUrl();
  }

  /** Where a client gets connections to one port of a pod. */
  String portForwardUrl(String podId, int port) {
    var request = PortForwardRequest.newBuilder().setPodSandboxId(podId).addPort(port).build();
    return call("PortForward to " + podId, () -> runtime().portForward(request)).getUrl();
  }

  /** The first process of a running container, as verbose status tells it. */
  int pid(String containerId) {
    var request =
        ContainerStatusRequest.newBuilder().setContainerId(containerId).setVerbose(true).build();
    String info =
        call("ContainerStatus " + containerId, () -> runtime().containerStatus(request))
            .getInfoOrDefault("info", "");
    Matcher pid = PID.matcher(info);
    if (!pid.find()) {
      throw new BenchException(
          Reason.CALL, "ContainerStatus " + containerId + ": no pid in " + info, null);
    }
    return Integer.parseInt(pid.group(1));
  }

  /**
   * @param grace between the stop signal and SIGKILL, in whole seconds; zero kills at once
   */
  void stopContainer(String id, Duration grace) {
    var request =
        StopContainerRequest.newBuilder().setContainerId(id).setTimeout(grace.toSeconds()).build();
    call("StopContainer " + id, () -> runtime().stopContainer(request));
  }

  void removeContainer(String id) {
    var request = RemoveContainerRequest.newBuilder().setContainerId(id).build();
    call("RemoveContainer " + id, () -> runtime().removeContainer(request));
  }

  void stopPod(String id) {
    var request = StopPodSandboxRequest.newBuilder().setPodSandboxId(id).build();
    call("StopPodSandbox " + id, () -> runtime().stopPodSandbox(request));
  }

  /** With its containers. */
  void removePod(String id) {
    var request = RemovePodSandboxRequest.newBuilder().setPodSandboxId(id).build();
    call("RemovePodSandbox " + id, () -> runtime().removePodSandbox(request));
  }

  /** Ids of the pods in {@link #NAMESPACE}. */
  List<String> pods() {
    return call(
        "ListPodSandbox",
        () ->
            runtime()
                .listPodSandbox(ListPodSandboxRequest.getDefaultInstance())
                .getItemsList()
                .stream()
                .filter(pod -> pod.getMetadata().getNamespace().equals(NAMESPACE))
                .map(PodSandbox::getId)
                .toList());
  }

  /** Empty in the host's network. */
  String podAddress(String id) {
    var request = PodSandboxStatusRequest.newBuilder().setPodSandboxId(id).build();
    return call(
        "PodSandboxStatus " + id,
        () -> runtime().podSandboxStatus(request).getStatus().getNetwork().getIp());
  }

  Stats stats(String containerId) {
    var request = ContainerStatsRequest.newBuilder().setContainerId(containerId).build();
    var stats =
        call("ContainerStats " + containerId, () -> runtime().containerStats(request).getStats());
    return new Stats(
        stats.getCpu().getTimestamp(),
        stats.getCpu().getUsageCoreNanoSeconds().getValue(),
        stats.getMemory().getWorkingSetBytes().getValue());
  }

  /** The stats of all containers, asked as a kubelet does. */
  void containerStats() {
    call(
        "ListContainerStats",
        () ->
            UnreadAnswer.of(
                channel,
                RuntimeServiceGrpc.getListContainerStatsMethod(),
                ListContainerStatsRequest.getDefaultInstance()));
  }

  void podStats() {
    call(
        "ListPodSandboxStats",
        () ->
            UnreadAnswer.of(
                channel,
                RuntimeServiceGrpc.getListPodSandboxStatsMethod(),
                ListPodSandboxStatsRequest.getDefaultInstance()));
  }

  void podMetrics() {
    call(
        "ListPodSandboxMetrics",
        () ->
            UnreadAnswer.of(
                channel,
                RuntimeServiceGrpc.getListPodSandboxMetricsMethod(),
                ListPodSandboxMetricsRequest.getDefaultInstance()));
  }

  /** What a kubelet asks each second to learn what has changed. */
  void relist() {
    call(
        "ListPodSandbox",
        () ->
            UnreadAnswer.of(
                channel,
                RuntimeServiceGrpc.getListPodSandboxMethod(),
                ListPodSandboxRequest.getDefaultInstance()));
    call(
        "ListContainers",
        () ->
            UnreadAnswer.of(
                channel,
                RuntimeServiceGrpc.getListContainersMethod(),
                ListContainersRequest.getDefaultInstance()));
  }

  void containerStatus(String id) {
    var request = ContainerStatusRequest.newBuilder().setContainerId(id).build();
    call("ContainerStatus " + id, () -> runtime().containerStatus(request));
  }

  void status() {
    call("Status", () -> runtime().status(StatusRequest.getDefaultInstance()));
  }

  boolean hasImage(String name) {
    var request = ImageStatusRequest.newBuilder().setImage(image(name)).build();
    return call("ImageStatus " + name, () -> images().imageStatus(request).hasImage());
  }

  void pullImage(String name) {
    var request = PullImageRequest.newBuilder().setImage(image(name)).build();
    call("PullImage " + name, () -> images().pullImage(request));
  }

  void removeImage(String name) {
    var request = RemoveImageRequest.newBuilder().setImage(image(name)).build();
    call("RemoveImage " + name, () -> images().removeImage(request));
  }

  /**
   * Hands an archive to Berth; another runtime does not know the call.
   *
   * @return full names of the images in it
   */
  List<String> importArchive(Path archive) throws InterruptedException {
    try (InputStream content = Files.newInputStream(archive)) {
      BlockingClientCall<ImportChunk, ImportResponse> call =
          AdminGrpc.newBlockingV2Stub(channel).import_();
      var label = ImportLabel.newBuilder().setSource(archive.toString());
      boolean open = call.write(ImportChunk.newBuilder().setLabel(label).build());
      for (byte[] piece = content.readNBytes(PIECE);
          open && piece.length > 0;
          piece = content.readNBytes(PIECE)) {
        open = call.write(ImportChunk.newBuilder().setData(ByteString.copyFrom(piece)).build());
      }
      call.halfClose();
      ImportResponse answer = call.read();
      if (answer == null) {
        throw new BenchException(Reason.CALL, "import " + archive + ": no answer", null);
      }
      return answer.getImagesList();
    } catch (StatusException failure) {
      throw failed("import " + archive, failure.getStatus(), failure);
    } catch (IOException failure) {
      throw new BenchException(Reason.FILES, "read " + archive + ": " + failure, failure);
    }
  }

  /**
   * The daemon's own record of the calls about an object, oldest first.
   *
   * @param object beginning of a pod's or container's id; empty is all
   */
  List<Operation> operations(String object) {
    var request = OperationsRequest.newBuilder().setObject(object).build();
    return call(
        "Operations",
        () ->
            AdminGrpc.newBlockingStub(channel)
                .withDeadlineAfter(CALL_DEADLINE)
                .operations(request)
                .getOperationsList()
                .reversed()
                .stream()
                .map(CriClient::operation)
                .toList());
  }

  /** The process that serves the socket, by the kernel's word (SO_PEERCRED, socket(7)). */
  int daemonPid() throws InterruptedException {
    Channel connection =
        new Bootstrap()
            .group(eventLoop)
            .channel(EpollDomainSocketChannel.class)
            .handler(new ChannelInboundHandlerAdapter())
            .connect(new DomainSocketAddress(socket.toFile()))
            .sync()
            .channel();
    try {
      return ((EpollDomainSocketChannel) connection).peerCredentials().pid();
    } catch (IOException failure) {
      throw new BenchException(
          Reason.FILES, "ask who serves " + socket + ": " + failure.getMessage(), failure);
    } finally {
      connection.close().sync();
    }
  }

  @Override
  public void close() {
    channel.shutdownNow();
    var _ = eventLoop.shutdownGracefully(0, 1, TimeUnit.SECONDS);
  }

  private RuntimeServiceGrpc.RuntimeServiceBlockingStub runtime() {
    return RuntimeServiceGrpc.newBlockingStub(channel).withDeadlineAfter(CALL_DEADLINE);
  }

  private ImageServiceGrpc.ImageServiceBlockingStub images() {
    return ImageServiceGrpc.newBlockingStub(channel).withDeadlineAfter(PULL_DEADLINE);
  }

  private static PodSandboxConfig config(Pod pod) {
    return PodSandboxConfig.newBuilder()
        .setMetadata(
            PodSandboxMetadata.newBuilder()
                .setName(pod.name())
                .setNamespace(NAMESPACE)
                .setUid(pod.name()))
        .putAllLabels(labels(pod))
        .setHostname(pod.hostNetwork() ? "" : pod.name())
        .setLogDirectory(pod.logFolder().toString())
        .setLinux(
            LinuxPodSandboxConfig.newBuilder()
                .setSecurityContext(
                    LinuxSandboxSecurityContext.newBuilder().setNamespaceOptions(namespaces(pod))))
        .build();
  }

  /** As a kubelet labels all it makes; crictl names the pods of containers by them. */
  private static Map<String, String> labels(Pod pod) {
    return Map.of(
        "io.kubernetes.pod.name", pod.name(),
        "io.kubernetes.pod.namespace", NAMESPACE,
        "io.kubernetes.pod.uid", pod.name());
  }

  /** As a kubelet asks for an ordinary pod: every container has its own processes. */
  private static NamespaceOption namespaces(Pod pod) {
    return NamespaceOption.newBuilder()
        .setNetwork(pod.hostNetwork() ? NamespaceMode.NODE : NamespaceMode.POD)
        .setPid(NamespaceMode.CONTAINER)
        .setIpc(NamespaceMode.POD)
        .build();
  }

  private static ImageSpec image(String name) {
    return ImageSpec.newBuilder().setImage(name).build();
  }

  private static Operation operation(io.berth.admin.v1.Operation operation) {
    return new Operation(
        operation.getMethod(),
        operation.getObject(),
        Instant.EPOCH.plusNanos(operation.getStartedAt()),
        Duration.ofNanos(operation.getFinishedAt() - operation.getStartedAt()),
        operation.getStagesList().stream()
            .map(stage -> new Stage(stage.getName(), Duration.ofNanos(stage.getDuration())))
            .toList());
  }

  private static <T> T call(String what, Supplier<T> body) {
    try {
      return body.get();
    } catch (StatusRuntimeException failure) {
      throw failed(what, failure.getStatus(), failure);
    }
  }

  private static BenchException failed(String what, Status status, Exception failure) {
    return new BenchException(
        Reason.CALL, what + ": " + status.getCode() + ": " + status.getDescription(), failure);
  }
}
