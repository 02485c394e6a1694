package io.berth.runtime;

import com.google.protobuf.ByteString;
import com.google.protobuf.MessageLite;
import com.google.protobuf.UnsafeByteOperations;
import io.berth.cri.v1.AttachRequest;
import io.berth.cri.v1.AttachResponse;
import io.berth.cri.v1.CgroupDriver;
import io.berth.cri.v1.ContainerEventResponse;
import io.berth.cri.v1.ContainerStats;
import io.berth.cri.v1.ContainerStatsFilter;
import io.berth.cri.v1.ContainerStatsRequest;
import io.berth.cri.v1.ContainerStatsResponse;
import io.berth.cri.v1.ContainerStatusRequest;
import io.berth.cri.v1.ContainerStatusResponse;
import io.berth.cri.v1.CreateContainerRequest;
import io.berth.cri.v1.CreateContainerResponse;
import io.berth.cri.v1.ExecRequest;
import io.berth.cri.v1.ExecResponse;
import io.berth.cri.v1.ExecSyncRequest;
import io.berth.cri.v1.ExecSyncResponse;
import io.berth.cri.v1.GetEventsRequest;
import io.berth.cri.v1.LinuxRuntimeConfiguration;
import io.berth.cri.v1.ListContainerStatsRequest;
import io.berth.cri.v1.ListContainerStatsResponse;
import io.berth.cri.v1.ListContainersRequest;
import io.berth.cri.v1.ListContainersResponse;
import io.berth.cri.v1.ListMetricDescriptorsRequest;
import io.berth.cri.v1.ListMetricDescriptorsResponse;
import io.berth.cri.v1.ListPodSandboxMetricsRequest;
import io.berth.cri.v1.ListPodSandboxMetricsResponse;
import io.berth.cri.v1.ListPodSandboxRequest;
import io.berth.cri.v1.ListPodSandboxResponse;
import io.berth.cri.v1.ListPodSandboxStatsRequest;
import io.berth.cri.v1.ListPodSandboxStatsResponse;
import io.berth.cri.v1.PodSandboxStats;
import io.berth.cri.v1.PodSandboxStatsFilter;
import io.berth.cri.v1.PodSandboxStatsRequest;
import io.berth.cri.v1.PodSandboxStatsResponse;
import io.berth.cri.v1.PodSandboxStatusRequest;
import io.berth.cri.v1.PodSandboxStatusResponse;
import io.berth.cri.v1.PortForwardRequest;
import io.berth.cri.v1.PortForwardResponse;
import io.berth.cri.v1.RemoveContainerRequest;
import io.berth.cri.v1.RemoveContainerResponse;
import io.berth.cri.v1.RemovePodSandboxRequest;
import io.berth.cri.v1.RemovePodSandboxResponse;
import io.berth.cri.v1.ReopenContainerLogRequest;
import io.berth.cri.v1.ReopenContainerLogResponse;
import io.berth.cri.v1.RunPodSandboxRequest;
import io.berth.cri.v1.RunPodSandboxResponse;
import io.berth.cri.v1.RuntimeConfigRequest;
import io.berth.cri.v1.RuntimeConfigResponse;
import io.berth.cri.v1.RuntimeServiceGrpc;
import io.berth.cri.v1.StartContainerRequest;
import io.berth.cri.v1.StartContainerResponse;
import io.berth.cri.v1.StatusRequest;
import io.berth.cri.v1.StatusResponse;
import io.berth.cri.v1.StopContainerRequest;
import io.berth.cri.v1.StopContainerResponse;
import io.berth.cri.v1.StopPodSandboxRequest;
import io.berth.cri.v1.StopPodSandboxResponse;
import io.berth.cri.v1.StreamContainerStatsRequest;
import io.berth.cri.v1.StreamContainerStatsResponse;
import io.berth.cri.v1.StreamContainersRequest;
import io.berth.cri.v1.StreamContainersResponse;
import io.berth.cri.v1.StreamPodSandboxMetricsRequest;
import io.berth.cri.v1.StreamPodSandboxMetricsResponse;
import io.berth.cri.v1.StreamPodSandboxStatsRequest;
import io.berth.cri.v1.StreamPodSandboxStatsResponse;
import io.berth.cri.v1.StreamPodSandboxesRequest;
import io.berth.cri.v1.StreamPodSandboxesResponse;
import io.berth.cri.v1.UpdateContainerResourcesRequest;
import io.berth.cri.v1.UpdateContainerResourcesResponse;
import io.berth.cri.v1.UpdatePodSandboxResourcesRequest;
import io.berth.cri.v1.UpdatePodSandboxResourcesResponse;
import io.berth.cri.v1.UpdateRuntimeConfigRequest;
import io.berth.cri.v1.UpdateRuntimeConfigResponse;
import io.berth.cri.v1.VersionRequest;
import io.berth.cri.v1.VersionResponse;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxManager;
import io.berth.sandbox.SandboxStore;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.CancellationException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * CRI's RuntimeService: translates, calls the one class that does the work, translates back.
 * Failures are thrown; the daemon's interceptor turns them into codes. Calls that aren't here
 * answer UNIMPLEMENTED.
 */
public final class RuntimeGrpcService extends RuntimeServiceGrpc.RuntimeServiceImplBase {
  private static final Logger log = LoggerFactory.getLogger(RuntimeGrpcService.class);
  private static final String KUBELET_API_VERSION = "0.1.0"; // a constant of the protocol

  private final RuntimeInfo info;
  private final SandboxStore sandboxes;
  private final ContainerStore containers;
  private final PodLifecycle pods;
  private final ContainerCreator creator;
  private final ContainerManager manager;
  private final ExecSync execs;
  private final UsageReports usage;
  private final StatsGrpcAnswers stats;
  private final StatusGrpcAnswers status;
  private final ListGrpcAnswers lists;
  private final VerboseInfo verbose;
  private final PodEvents events;
  private final ContainerUpdater updater;
  private final SandboxManager sandboxManager;
  private final PortForward portForward;
  private final RemoteCommands commands;
  private final MonitorControl monitors;

  RuntimeGrpcService(
      RuntimeInfo info,
      SandboxStore sandboxes,
      ContainerStore containers,
      PodLifecycle pods,
      ContainerCreator creator,
      ContainerManager manager,
      ExecSync execs,
      UsageReports usage,
      StatusGrpcAnswers status,
      VerboseInfo verbose,
      PodEvents events,
      ContainerUpdater updater,
      SandboxManager sandboxManager,
      PortForward portForward,
      RemoteCommands commands,
      MonitorControl monitors) {
    this.info = info;
    this.sandboxes = sandboxes;
    this.containers = containers;
    this.pods = pods;
    this.creator = creator;
    this.manager = manager;
    this.execs = execs;
    this.usage = usage;
    this.stats = new StatsGrpcAnswers(info.storePath());
    this.status = status;
    this.lists = new ListGrpcAnswers(sandboxes, containers);
    this.verbose = verbose;
    this.events = events;
    this.updater = updater;
    this.sandboxManager = sandboxManager;
    this.portForward = portForward;
    this.commands = commands;
    this.monitors = monitors;
  }

  @Override
  public void version(VersionRequest request, StreamObserver<VersionResponse> observer) {
    answer(
        observer,
        () ->
            VersionResponse.newBuilder()
                .setVersion(KUBELET_API_VERSION)
                .setRuntimeName("berth")
                .setRuntimeVersion(info.version())
                .setRuntimeApiVersion("v1")
                .build());
  }

  @Override
  public void status(StatusRequest request, StreamObserver<StatusResponse> observer) {
    answer(observer, () -> status.status(request.getVerbose()));
  }

  @Override
  public void runtimeConfig(
      RuntimeConfigRequest request, StreamObserver<RuntimeConfigResponse> observer) {
    answer(
        observer,
        () ->
            RuntimeConfigResponse.newBuilder()
                .setLinux(
                    LinuxRuntimeConfiguration.newBuilder()
                        .setCgroupDriver(
                            switch (info.cgroupDriver()) {
                              case CGROUPFS -> CgroupDriver.CGROUPFS;
                              case SYSTEMD -> CgroupDriver.SYSTEMD;
                            }))
                .build());
  }

  /**
   * The pod CIDR is the CNI configuration's business, which Berth doesn't write: a network plugin
   * asks the API server for it.
   */
  @Override
  public void updateRuntimeConfig(
      UpdateRuntimeConfigRequest request, StreamObserver<UpdateRuntimeConfigResponse> observer) {
    log.debug(
        "pod CIDR {} is left to the CNI configuration",
        request.getRuntimeConfig().getNetworkConfig().getPodCidr());
    answer(observer, UpdateRuntimeConfigResponse::getDefaultInstance);
  }

  @Override
  public void runPodSandbox(
      RunPodSandboxRequest request, StreamObserver<RunPodSandboxResponse> observer) {
    answer(
        observer,
        () -> {
          Sandbox sandbox =
              pods.run(GrpcRequests.sandbox(request.getConfig()), request.getRuntimeHandler());
          return RunPodSandboxResponse.newBuilder().setPodSandboxId(sandbox.id().value()).build();
        });
  }

  @Override
  public void stopPodSandbox(
      StopPodSandboxRequest request, StreamObserver<StopPodSandboxResponse> observer) {
    answer(
        observer,
        () -> {
          pods.stop(request.getPodSandboxId());
          return StopPodSandboxResponse.getDefaultInstance();
        });
  }

  @Override
  public void removePodSandbox(
      RemovePodSandboxRequest request, StreamObserver<RemovePodSandboxResponse> observer) {
    answer(
        observer,
        () -> {
          pods.remove(request.getPodSandboxId());
          return RemovePodSandboxResponse.getDefaultInstance();
        });
  }

  @Override
  public void podSandboxStatus(
      PodSandboxStatusRequest request, StreamObserver<PodSandboxStatusResponse> observer) {
    answer(
        observer,
        () -> {
          Sandbox sandbox = sandboxes.get(request.getPodSandboxId());
          PodSandboxStatusResponse.Builder response =
              PodSandboxStatusResponse.newBuilder()
                  .setStatus(GrpcAnswers.sandboxStatus(sandbox))
                  .setTimestamp(ExitWatch.nanos(Instant.now()));
          containers.of(sandbox.id()).stream()
              .filter(c -> c.state().visible())
              .forEach(c -> response.addContainersStatuses(GrpcAnswers.containerStatus(c)));
          if (request.getVerbose()) {
            response.putInfo("info", verbose.of(sandbox));
          }
          return response.build();
        });
  }

  @Override
  public void listPodSandbox(
      ListPodSandboxRequest request, StreamObserver<ListPodSandboxResponse> observer) {
    answer(
        observer,
        () ->
            ListPodSandboxResponse.newBuilder()
                .setUnknownFields(
                    WireGrpcItems.field(
                        ListPodSandboxResponse.ITEMS_FIELD_NUMBER,
                        lists.sandboxes(request.getFilter()).toList()))
                .build());
  }

  @Override
  public void streamPodSandboxes(
      StreamPodSandboxesRequest request, StreamObserver<StreamPodSandboxesResponse> observer) {
    GrpcParts.send(
        lists.sandboxes(request.getFilter()),
        ByteString::size,
        part ->
            StreamPodSandboxesResponse.newBuilder()
                .setUnknownFields(
                    WireGrpcItems.field(
                        StreamPodSandboxesResponse.POD_SANDBOXES_FIELD_NUMBER, part))
                .build(),
        observer);
  }

  @Override
  public void createContainer(
      CreateContainerRequest request, StreamObserver<CreateContainerResponse> observer) {
    answer(
        observer,
        () -> {
          Container container =
              creator.create(
                  request.getPodSandboxId(), GrpcRequests.container(request.getConfig()));
          return CreateContainerResponse.newBuilder()
              .setContainerId(container.id().value())
              .build();
        });
  }

  @Override
  public void startContainer(
      StartContainerRequest request, StreamObserver<StartContainerResponse> observer) {
    answer(
        observer,
        () -> {
          manager.start(request.getContainerId());
          return StartContainerResponse.getDefaultInstance();
        });
  }

  @Override
  public void stopContainer(
      StopContainerRequest request, StreamObserver<StopContainerResponse> observer) {
    answer(
        observer,
        () -> {
          manager.stop(request.getContainerId(), Duration.ofSeconds(request.getTimeout()));
          return StopContainerResponse.getDefaultInstance();
        });
  }

  @Override
  public void removeContainer(
      RemoveContainerRequest request, StreamObserver<RemoveContainerResponse> observer) {
    answer(
        observer,
        () -> {
          manager.remove(request.getContainerId());
          return RemoveContainerResponse.getDefaultInstance();
        });
  }

  @Override
  public void containerStatus(
      ContainerStatusRequest request, StreamObserver<ContainerStatusResponse> observer) {
    answer(
        observer,
        () -> {
          Container container = containers.get(request.getContainerId());
          ContainerStatusResponse.Builder response =
              ContainerStatusResponse.newBuilder()
                  .setStatus(GrpcAnswers.containerStatus(container));
          if (request.getVerbose()) {
            response.putInfo("info", verbose.of(container));
          }
          return response.build();
        });
  }

  @Override
  public void listContainers(
      ListContainersRequest request, StreamObserver<ListContainersResponse> observer) {
    answer(
        observer,
        () ->
            ListContainersResponse.newBuilder()
                .setUnknownFields(
                    WireGrpcItems.field(
                        ListContainersResponse.CONTAINERS_FIELD_NUMBER,
                        lists.containers(request.getFilter()).toList()))
                .build());
  }

  @Override
  public void streamContainers(
      StreamContainersRequest request, StreamObserver<StreamContainersResponse> observer) {
    GrpcParts.send(
        lists.containers(request.getFilter()),
        ByteString::size,
        part ->
            StreamContainersResponse.newBuilder()
                .setUnknownFields(
                    WireGrpcItems.field(StreamContainersResponse.CONTAINERS_FIELD_NUMBER, part))
                .build(),
        observer);
  }

  @Override
  public void execSync(ExecSyncRequest request, StreamObserver<ExecSyncResponse> observer) {
    answer(
        observer,
        () -> {
          ExecSync.Output output =
              execs.run(
                  request.getContainerId(),
                  request.getCmdList(),
                  Duration.ofSeconds(request.getTimeout()));
          return ExecSyncResponse.newBuilder()
              .setExitCode(output.exitCode())
              .setStdout(UnsafeByteOperations.unsafeWrap(output.stdout()))
              .setStderr(UnsafeByteOperations.unsafeWrap(output.stderr()))
              .build();
        });
  }

  @Override
  public void exec(ExecRequest request, StreamObserver<ExecResponse> observer) {
    answer(
        observer,
        () -> {
          var streams =
              new RemoteCommands.Streams(
                  request.getStdin(), request.getStdout(), request.getStderr(), request.getTty());
          String url = commands.exec(request.getContainerId(), request.getCmdList(), streams);
          return ExecResponse.newBuilder().setUrl(url).build();
        });
  }

  @Override
  public void attach(AttachRequest request, StreamObserver<AttachResponse> observer) {
    answer(
        observer,
        () -> {
          var streams =
              new RemoteCommands.Streams(
                  request.getStdin(), request.getStdout(), request.getStderr(), request.getTty());
          String url = commands.attach(request.getContainerId(), streams);
          return AttachResponse.newBuilder().setUrl(url).build();
        });
  }

  @Override
  public void reopenContainerLog(
      ReopenContainerLogRequest request, StreamObserver<ReopenContainerLogResponse> observer) {
    answer(
        observer,
        () -> {
          monitors.reopenLog(containers.get(request.getContainerId()));
          return ReopenContainerLogResponse.getDefaultInstance();
        });
  }

  @Override
  public void portForward(
      PortForwardRequest request, StreamObserver<PortForwardResponse> observer) {
    answer(
        observer,
        () ->
            PortForwardResponse.newBuilder()
                .setUrl(portForward.offer(request.getPodSandboxId(), request.getPortList()))
                .build());
  }

  @Override
  public void containerStats(
      ContainerStatsRequest request, StreamObserver<ContainerStatsResponse> observer) {
    answer(
        observer,
        () ->
            ContainerStatsResponse.newBuilder()
                .setStats(stats.container(usage.container(request.getContainerId())))
                .build());
  }

  @Override
  public void listContainerStats(
      ListContainerStatsRequest request, StreamObserver<ListContainerStatsResponse> observer) {
    answer(
        observer,
        () ->
            ListContainerStatsResponse.newBuilder()
                .addAllStats(containerStats(request.getFilter()))
                .build());
  }

  @Override
  public void streamContainerStats(
      StreamContainerStatsRequest request, StreamObserver<StreamContainerStatsResponse> observer) {
    GrpcParts.send(
        containerStats(request.getFilter()).stream(),
        MessageLite::getSerializedSize,
        part -> StreamContainerStatsResponse.newBuilder().addAllContainerStats(part).build(),
        observer);
  }

  private List<ContainerStats> containerStats(ContainerStatsFilter filter) {
    return usage
        .containers(c ->
            c.id().value().startsWith(filter.getId())
                && c.sandboxId().value().startsWith(filter.getPodSandboxId())
                && c.config()
                    .labels()
                    .entrySet()
                    .containsAll(filter.getLabelSelectorMap().entrySet()))
        .stream()
        .map(stats::container)
        .toList();
  }

  @Override
  public void podSandboxStats(
      PodSandboxStatsRequest request, StreamObserver<PodSandboxStatsResponse> observer) {
    answer(
        observer,
        () ->
            PodSandboxStatsResponse.newBuilder()
                .setStats(stats.pod(usage.pod(request.getPodSandboxId())))
                .build());
  }

  @Override
  public void listPodSandboxStats(
      ListPodSandboxStatsRequest request, StreamObserver<ListPodSandboxStatsResponse> observer) {
    answer(
        observer,
        () ->
            ListPodSandboxStatsResponse.newBuilder()
                .addAllStats(podStats(request.getFilter()))
                .build());
  }

  @Override
  public void streamPodSandboxStats(
      StreamPodSandboxStatsRequest request,
      StreamObserver<StreamPodSandboxStatsResponse> observer) {
    GrpcParts.send(
        podStats(request.getFilter()).stream(),
        MessageLite::getSerializedSize,
        part -> StreamPodSandboxStatsResponse.newBuilder().addAllPodSandboxStats(part).build(),
        observer);
  }

  private List<PodSandboxStats> podStats(PodSandboxStatsFilter filter) {
    return usage
        .pods(s ->
            s.id().value().startsWith(filter.getId())
                && s.config()
                    .labels()
                    .entrySet()
                    .containsAll(filter.getLabelSelectorMap().entrySet()))
        .stream()
        .map(stats::pod)
        .toList();
  }

  @Override
  public void listMetricDescriptors(
      ListMetricDescriptorsRequest request,
      StreamObserver<ListMetricDescriptorsResponse> observer) {
    answer(
        observer,
        () ->
            ListMetricDescriptorsResponse.newBuilder()
                .addAllDescriptors(
                    usage.metrics().stream().map(MetricsGrpcAnswers::descriptor).toList())
                .build());
  }

  @Override
  public void listPodSandboxMetrics(
      ListPodSandboxMetricsRequest request,
      StreamObserver<ListPodSandboxMetricsResponse> observer) {
    answer(
        observer,
        () ->
            ListPodSandboxMetricsResponse.newBuilder()
                .setUnknownFields(
                    WireGrpcItems.field(
                        ListPodSandboxMetricsResponse.POD_METRICS_FIELD_NUMBER, podMetrics()))
                .build());
  }

  @Override
  public void streamPodSandboxMetrics(
      StreamPodSandboxMetricsRequest request,
      StreamObserver<StreamPodSandboxMetricsResponse> observer) {
    GrpcParts.send(
        podMetrics().stream(),
        ByteString::size,
        part ->
            StreamPodSandboxMetricsResponse.newBuilder()
                .setUnknownFields(
                    WireGrpcItems.field(
                        StreamPodSandboxMetricsResponse.POD_SANDBOX_METRICS_FIELD_NUMBER, part))
                .build(),
        observer);
  }

  private List<ByteString> podMetrics() {
    MetricsGrpcAnswers answers = new MetricsGrpcAnswers();
    usage.metrics(answers);
    return answers.pods();
  }

  @Override
  public void updateContainerResources(
      UpdateContainerResourcesRequest request,
      StreamObserver<UpdateContainerResourcesResponse> observer) {
    answer(
        observer,
        () -> {
          updater.update(
              request.getContainerId(), GrpcRequests.update(request.getContainerId(), request));
          return UpdateContainerResourcesResponse.getDefaultInstance();
        });
  }

  /** The kubelet has changed the pod's cgroup itself by now. */
  @Override
  public void updatePodSandboxResources(
      UpdatePodSandboxResourcesRequest request,
      StreamObserver<UpdatePodSandboxResourcesResponse> observer) {
    answer(
        observer,
        () -> {
          sandboxManager.updateResources(
              request.getPodSandboxId(),
              request.hasOverhead() ? GrpcRequests.resources(request.getOverhead()) : null,
              request.hasResources() ? GrpcRequests.resources(request.getResources()) : null);
          return UpdatePodSandboxResourcesResponse.getDefaultInstance();
        });
  }

  /** Ends only with its caller, or when the caller doesn't keep up. */
  @Override
  public void getContainerEvents(
      GetEventsRequest request, StreamObserver<ContainerEventResponse> observer) {
    try (PodEvents.Subscription subscription = events.subscribe()) {
      while (true) {
        observer.onNext(EventGrpcAnswers.event(subscription.next()));
      }
    } catch (InterruptedException e) {
      throw givenUp(e);
    }
  }

  /** Work that may be interrupted and may touch files. */
  @FunctionalInterface
  private interface Work<T> {
    T call() throws InterruptedException, IOException;
  }

  private static <T> void answer(StreamObserver<T> observer, Work<T> work) {
    T message;
    try {
      message = work.call();
    } catch (InterruptedException e) {
      throw givenUp(e);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
    observer.onNext(message);
    observer.onCompleted();
  }

  private static CancellationException givenUp(InterruptedException e) {
    Thread.currentThread().interrupt();
    CancellationException given = new CancellationException("the caller gave up");
    given.initCause(e);
    return given;
  }
}
