package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import com.google.protobuf.ByteString;
import io.berth.cri.v1.ContainerEventResponse;
import io.berth.cri.v1.ContainerStatusRequest;
import io.berth.cri.v1.ExecSyncRequest;
import io.berth.cri.v1.ExecSyncResponse;
import io.berth.cri.v1.GetEventsRequest;
import io.berth.cri.v1.RuntimeServiceGrpc;
import io.berth.cri.v1.StopContainerRequest;
import io.berth.cri.v1.StopContainerResponse;
import io.berth.cri.v1.VersionRequest;
import io.berth.cri.v1.VersionResponse;
import io.berth.daemon.DaemonException.Reason;
import io.berth.linux.Stages;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.GroupPrincipal;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(30)
class CriServerTest {
  private static final int LARGE_EVENT = 100 << 10;
  private static final int LARGE_EVENTS = 100;

  @TempDir Path folder;
  private Path socket;
  private final SimpleMeterRegistry meters = new SimpleMeterRegistry();
  private final OperationLog operations = new OperationLog(Subject.Directory.EMPTY);
  private final Handlers handlers = new Handlers();
  private final CallInterceptor interceptor = new CallInterceptor(operations);
  private @Nullable CriServer server;
  private @Nullable DaemonConnection connection;

  /// Stands for the services: each call's way to end is visible to the test.
  private static final class Handlers extends RuntimeServiceGrpc.RuntimeServiceImplBase {
    final CountDownLatch waiting = new CountDownLatch(1);
    final CountDownLatch release = new CountDownLatch(1);
    final CompletableFuture<String> ended = new CompletableFuture<>();
    final AtomicReference<String> thread = new AtomicReference<>("");
    final AtomicReference<@Nullable Thread> streamer = new AtomicReference<>();
    volatile int largeEvents;
    final AtomicInteger sent = new AtomicInteger();
    volatile RuntimeException failure = new IllegalStateException("broken");

    @Override
    public void version(VersionRequest request, StreamObserver<VersionResponse> observer) {
      thread.set(Thread.currentThread().getName());
      observer.onNext(VersionResponse.newBuilder().setVersion("0.1.0").build());
      observer.onCompleted();
    }

    @Override
    public void execSync(ExecSyncRequest request, StreamObserver<ExecSyncResponse> observer) {
      observer.onNext(
          ExecSyncResponse.newBuilder()
              .setStdout(ByteString.copyFrom(new byte[(int) request.getTimeout()]))
              .build());
      observer.onCompleted();
    }

    @Override
    public void stopContainer(
        StopContainerRequest request, StreamObserver<StopContainerResponse> observer) {
      try {
        Stages.run(
            "wait",
            () -> {
              waiting.countDown();
              release.await();
            });
        ended.complete("finished");
        observer.onNext(StopContainerResponse.getDefaultInstance());
        observer.onCompleted();
      } catch (InterruptedException e) {
        ended.complete("interrupted");
        Thread.currentThread().interrupt();
        throw new CancellationException("stop was interrupted");
      }
    }

    @Override
    public void containerStatus(
        ContainerStatusRequest request,
        StreamObserver<io.berth.cri.v1.ContainerStatusResponse> observer) {
      throw failure;
    }

    @Override
    public void getContainerEvents(
        GetEventsRequest request, StreamObserver<ContainerEventResponse> observer) {
      try {
        observer.onNext(ContainerEventResponse.newBuilder().setContainerId("c1").build());
        waiting.countDown();
        String large = "x".repeat(LARGE_EVENT);
        streamer.set(Thread.currentThread());
        for (int i = 0; i < largeEvents; i++) {
          observer.onNext(ContainerEventResponse.newBuilder().setContainerId(large).build());
          sent.incrementAndGet();
        }
        new CountDownLatch(1).await();
      } catch (InterruptedException e) {
        throw new CancellationException("no more events");
      }
    }
  }

  @BeforeEach
  void nameTheSocket() {
    operations.tell(new CallMetrics(meters, operations));
    socket = folder.resolve("run/berth.sock");
  }

  @AfterEach
  void stop() {
    if (connection != null) {
      connection.close();
    }
    handlers.release.countDown();
    if (server != null) {
      server.close();
    }
  }

  @Test
  void callsAreAnsweredOnThreadsNamedForThem() {
    start(Duration.ofSeconds(5), Optional.empty());
    assertThat(client().version(VersionRequest.getDefaultInstance()).getVersion())
        .isEqualTo("0.1.0");
    assertThat(handlers.thread.get()).matches("Version-[0-9a-f]{8}");
    assertThat(operations.list("", true)).as("polled reads are not kept").isEmpty();
  }

  @Test
  void theSocketIsForOwnerAndGroupAlone() throws IOException {
    GroupPrincipal own = (GroupPrincipal) Files.getAttribute(folder, "posix:group");
    start(Duration.ofSeconds(5), Optional.of(own.getName()));
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(socket)))
        .isEqualTo("rw-rw----");
    assertThat(Files.getAttribute(socket, "posix:group")).isEqualTo(own);
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(folder.resolve("run"))))
        .isEqualTo("rwx--x--x");
  }

  @Test
  void anUnknownGroupIsRefusedByName() {
    assertThatThrownBy(() -> start(Duration.ZERO, Optional.of("no-such-group-here")))
        .isInstanceOf(DaemonException.class)
        .hasMessageContaining("\"no-such-group-here\"")
        .hasMessageContaining("server.group");
  }

  @Test
  void aStaleSocketIsReplaced() throws IOException {
    Files.createDirectories(folder.resolve("run"));
    ServerSocketChannel.open(StandardProtocolFamily.UNIX)
        .bind(UnixDomainSocketAddress.of(socket))
        .close();
    assertThat(socket).exists();
    start(Duration.ofSeconds(5), Optional.empty());
    assertThat(client().version(VersionRequest.getDefaultInstance()).getVersion()).isNotEmpty();
  }

  @Test
  void aSocketThatSomebodyAnswersOnIsLeftAlone() {
    start(Duration.ofSeconds(5), Optional.empty());
    DaemonException failure =
        catchThrowableOfType(
            DaemonException.class,
            () ->
                CriServer.start(settings(Duration.ZERO, Optional.empty()), interceptor, List.of()));
    assertThat(failure.reason()).isEqualTo(Reason.ALREADY_RUNNING);
    assertThat(failure).hasMessageContaining(socket + ": somebody answers there already");
    assertThat(client().version(VersionRequest.getDefaultInstance()).getVersion()).isNotEmpty();
  }

  @Test
  void aFileInTheSocketsPlaceIsNotDeleted() throws IOException {
    Files.createDirectories(folder.resolve("run"));
    Files.writeString(socket, "precious");
    assertThatThrownBy(() -> start(Duration.ZERO, Optional.empty()))
        .isInstanceOf(DaemonException.class)
        .hasMessageContaining("a file that is no socket");
    assertThat(socket).hasContent("precious");
  }

  @Test
  void aPathTooLongForASocketIsRefusedWithItsLimit() {
    socket = folder.resolve("x".repeat(120));
    assertThatThrownBy(() -> start(Duration.ZERO, Optional.empty()))
        .isInstanceOf(DaemonException.class)
        .hasMessageContaining("longer than the 106 bytes");
  }

  @Test
  void anExpiredDeadlineInterruptsTheHandler() throws Exception {
    start(Duration.ofSeconds(5), Optional.empty());
    // Said in the header alone: a deadline of the client's own would make it a race of two timers,
    // and the loser sees a stream that was reset.
    var deadline = new Metadata();
    deadline.put(Metadata.Key.of("grpc-timeout", Metadata.ASCII_STRING_MARSHALLER), "300m");
    StatusRuntimeException failure =
        catchThrowableOfType(
            StatusRuntimeException.class,
            () ->
                client()
                    .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(deadline))
                    .stopContainer(
                        StopContainerRequest.newBuilder().setContainerId("abc").build()));
    // grpc resets the stream, which grpc-java's client reads as CANCELLED; grpc-go's, the
    // kubelet's, looks at its own clock.
    assertThat(failure.getStatus().getCode()).isEqualTo(Status.Code.CANCELLED);
    assertThat(handlers.ended.get(10, TimeUnit.SECONDS)).isEqualTo("interrupted");
    Operation operation = awaitFinished();
    assertThat(operation.code()).isEqualTo(Status.Code.DEADLINE_EXCEEDED);
    assertThat(operation.object()).isEqualTo("abc");
    assertThat(operation.stages()).extracting(Stages.Stage::name).containsExactly("wait");
    assertThat(operation.describe())
        .matches("StopContainer abc DEADLINE_EXCEEDED [0-9.]+ ms \\(wait [0-9.]+\\): .*");
  }

  @Test
  void aCallerWhoLeavesInterruptsTheHandler() throws Exception {
    start(Duration.ofSeconds(5), Optional.empty());
    Context.CancellableContext caller = Context.current().withCancellation();
    Thread.ofVirtual().start(caller.wrap(this::stopExpectingFailure));
    handlers.waiting.await();
    assertThat(operations.list("", true)).singleElement().matches(Operation::isRunning);
    caller.cancel(null);
    assertThat(handlers.ended.get(10, TimeUnit.SECONDS)).isEqualTo("interrupted");
    assertThat(awaitFinished().code()).isEqualTo(Status.Code.CANCELLED);
  }

  @Test
  void aFailureTellsCodeMessageAndRequestId() {
    start(Duration.ofSeconds(5), Optional.empty());
    handlers.failure = Status.NOT_FOUND.withDescription("no container abc").asRuntimeException();
    StatusRuntimeException failure =
        catchThrowableOfType(
            StatusRuntimeException.class,
            () -> client().containerStatus(ContainerStatusRequest.getDefaultInstance()));
    assertThat(failure).hasMessage("NOT_FOUND: no container abc");
    String requestId =
        Objects.requireNonNull(failure.getTrailers()).get(CallInterceptor.REQUEST_ID);
    assertThat(operations.list("", true))
        .extracting(Operation::requestId)
        .containsExactly(requestId);
    assertThat(
            meters
                .get("berth.calls")
                .tag("method", "ContainerStatus")
                .tag("code", "NOT_FOUND")
                .timer()
                .count())
        .isEqualTo(1);
  }

  @Test
  void aBugInAHandlerIsInternalAndTheServerLivesOn() {
    start(Duration.ofSeconds(5), Optional.empty());
    handlers.failure = new IllegalStateException("half a container");
    assertThatThrownBy(() -> client().containerStatus(ContainerStatusRequest.getDefaultInstance()))
        .hasMessage("INTERNAL: half a container");
    assertThat(client().version(VersionRequest.getDefaultInstance()).getVersion()).isNotEmpty();
  }

  @Test
  void aCallOfALaterVersionIsUnimplementedInOneSentence() {
    start(Duration.ofSeconds(5), Optional.empty());
    assertThatThrownBy(() ->
            client()
                .checkpointContainer(
                    io.berth.cri.v1.CheckpointContainerRequest.getDefaultInstance()))
        .hasMessage("UNIMPLEMENTED: this version of Berth does not offer CheckpointContainer yet");
  }

  @Test
  void messagesOfAlmostSixteenMebibytesPass() {
    start(Duration.ofSeconds(5), Optional.empty());
    int size = (16 << 20) - 1024;
    var request = ExecSyncRequest.newBuilder().setTimeout(size).addCmd("x".repeat(size)).build();
    assertThat(client().execSync(request).getStdout().size()).isEqualTo(size);
    assertThatThrownBy(
            () -> client().execSync(request.toBuilder().addCmd("y".repeat(2048)).build()))
        .hasMessageContaining("RESOURCE_EXHAUSTED");
  }

  @Test
  void closingLetsRunningCallsFinish() throws Exception {
    CriServer running = start(Duration.ofSeconds(20), Optional.empty());
    var answer = new CompletableFuture<StopContainerResponse>();
    Thread.ofVirtual()
        .start(() ->
            answer.complete(client().stopContainer(StopContainerRequest.getDefaultInstance())));
    handlers.waiting.await();
    Thread closing = Thread.ofVirtual().start(running::close);
    while (Files.exists(socket)) {
      Thread.onSpinWait();
    }
    handlers.release.countDown();
    assertThat(answer.get(10, TimeUnit.SECONDS)).isNotNull();
    closing.join();
  }

  @Test
  void closingInterruptsWhatOutlivesTheGrace() throws Exception {
    CriServer running = start(Duration.ofMillis(200), Optional.empty());
    Thread.ofVirtual().start(this::stopExpectingFailure);
    handlers.waiting.await();
    running.close();
    assertThat(handlers.ended.get(10, TimeUnit.SECONDS)).isEqualTo("interrupted");
    assertThat(socket).doesNotExist();
  }

  @Test
  void closingEndsEndlessStreamsAtOnce() {
    CriServer running = start(Duration.ofMinutes(5), Optional.empty());
    var events = client().getContainerEvents(GetEventsRequest.getDefaultInstance());
    assertThat(events.next().getContainerId()).isEqualTo("c1");
    running.close();
    assertThatThrownBy(events::hasNext).hasMessageContaining("UNAVAILABLE");
  }

  @Test
  void aStreamIsHeldBackWhileItsClientDoesNotRead() throws Exception {
    handlers.largeEvents = LARGE_EVENTS;
    CriServer _ = start(Duration.ofMinutes(5), Optional.empty());
    var read = new AtomicInteger();
    var all = new CountDownLatch(LARGE_EVENTS + 1);
    var call =
        client()
            .getChannel()
            .newCall(RuntimeServiceGrpc.getGetContainerEventsMethod(), CallOptions.DEFAULT);
    call.start(
        new ClientCall.Listener<>() {
          @Override
          public void onMessage(ContainerEventResponse message) {
            read.incrementAndGet();
            all.countDown();
          }
        },
        new Metadata());
    call.sendMessage(GetEventsRequest.getDefaultInstance());
    call.halfClose();

    Thread streamer = handlers.streamer.get();
    while (streamer == null || streamer.getState() != Thread.State.TIMED_WAITING) {
      Thread.onSpinWait();
      streamer = handlers.streamer.get();
    }
    assertThat(handlers.sent.get()).isLessThan(LARGE_EVENTS / 2);
    assertThat(read.get()).isZero();
    call.request(LARGE_EVENTS + 1);
    assertThat(all.await(20, TimeUnit.SECONDS)).isTrue();
    call.cancel("read enough", null);
  }

  private CriServer start(Duration grace, Optional<String> group) {
    CriServer started = CriServer.start(settings(grace, group), interceptor, List.of(handlers));
    server = started;
    return started;
  }

  private DaemonConfig.Server settings(Duration grace, Optional<String> group) {
    return new DaemonConfig.Server(socket, group, grace, Duration.ofMinutes(2));
  }

  private synchronized RuntimeServiceGrpc.RuntimeServiceBlockingStub client() {
    if (connection == null) {
      connection = new DaemonConnection(socket);
    }
    return RuntimeServiceGrpc.newBlockingStub(connection.channel());
  }

  private void stopExpectingFailure() {
    assertThatThrownBy(() -> client().stopContainer(StopContainerRequest.getDefaultInstance()))
        .isInstanceOf(StatusRuntimeException.class);
  }

  private Operation awaitFinished() {
    while (true) {
      List<Operation> all = operations.list("", true);
      if (!all.isEmpty() && !all.getFirst().isRunning()) {
        return all.getFirst();
      }
      Thread.onSpinWait();
    }
  }
}
