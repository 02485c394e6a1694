package io.berth.daemon;

import io.berth.admin.v1.PullLayer;
import io.berth.admin.v1.PullProgress;
import io.berth.admin.v1.PullRequest;
import io.berth.admin.v1.PullsRequest;
import io.berth.admin.v1.PullsResponse;
import io.berth.admin.v1.RouteRequest;
import io.berth.admin.v1.RouteResponse;
import io.berth.admin.v1.RouteStop;
import io.berth.admin.v1.TransfersGrpc;
import io.berth.image.Image;
import io.berth.image.ImagePuller;
import io.berth.image.PullBoard;
import io.berth.image.PullStatus;
import io.berth.image.RegistryClient;
import io.berth.image.RegistryCredentials;
import io.berth.linux.Stages;
import io.berth.oci.ImageReference;
import io.berth.oci.Platform;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/// What comes from registries, for `berth pull`, `berth pulls` and `berth registry`.
final class TransferGrpcService extends TransfersGrpc.TransfersImplBase {
  private static final long INTERVAL_MILLIS = 250;

  private final RegistryClient registries;
  private final ImagePuller puller;
  private final PullBoard board;

  TransferGrpcService(RegistryClient registries, ImagePuller puller, PullBoard board) {
    this.registries = registries;
    this.puller = puller;
    this.board = board;
  }

  @Override
  public void explain(RouteRequest request, StreamObserver<RouteResponse> observer) {
    var response = RouteResponse.newBuilder();
    try {
      for (io.berth.image.RouteStop stop : registries.explain(request.getImage())) {
        response.addStops(
            RouteStop.newBuilder()
                .setUrl(stop.url())
                .setMirror(stop.mirror())
                .setSource(stop.source())
                .setMay(stop.may())
                .setCredentials(stop.credentials())
                .setProxy(stop.proxy())
                .setAnswer(stop.answer())
                .setServes(stop.serves()));
      }
    } catch (InterruptedException left) {
      Thread.currentThread().interrupt();
      throw new CancellationException("explain " + request.getImage() + " was cancelled");
    }
    observer.onNext(response.build());
    observer.onCompleted();
  }

  @Override
  public void pulls(PullsRequest request, StreamObserver<PullsResponse> observer) {
    List<PullStatus> pulls = board.list();
    observer.onNext(message(pulls));
    try {
      while (request.getFollow() && !pulls.isEmpty()) {
        TimeUnit.MILLISECONDS.sleep(INTERVAL_MILLIS);
        pulls = board.list();
        observer.onNext(message(pulls));
      }
    } catch (InterruptedException left) {
      Thread.currentThread().interrupt();
      throw new CancellationException("nobody looks at the pulls any more");
    }
    observer.onCompleted();
  }

  /// The pull runs on a thread of its own, while this one tells how far it is. It ends with the
  /// call, unless others wait for the same image.
  @Override
  public void pull(PullRequest request, StreamObserver<PullProgress> observer) {
    var wish =
        new io.berth.image.PullRequest(
            request.getImage(),
            RegistryCredentials.NONE,
            "",
            "",
            Map.of(),
            platform(request.getPlatform()));
    var outcome = new CompletableFuture<Image>();
    Stages.Log stages = Stages.current();
    Thread worker =
        Thread.ofVirtual()
            .name(Thread.currentThread().getName())
            .start(() -> {
              try {
                outcome.complete(Stages.record(stages, () -> puller.pull(wish)));
              } catch (Throwable failure) {
                outcome.completeExceptionally(failure);
              }
            });
    try {
      PullStatus latest = new PullStatus(request.getImage(), Instant.now(), List.of());
      Image image = null;
      while (image == null) {
        image = await(outcome);
        latest = status(request.getImage()).orElse(latest);
        if (image == null) {
          observer.onNext(message(latest).build());
        }
      }
      observer.onNext(message(latest).clearLayers().setImageId(image.id().toString()).build());
      observer.onCompleted();
    } catch (InterruptedException left) {
      Thread.currentThread().interrupt();
      throw new CancellationException("pull " + request.getImage() + " was cancelled");
    } finally {
      worker.interrupt();
    }
  }

  /// Null while it isn't there.
  private static @Nullable Image await(CompletableFuture<Image> outcome)
      throws InterruptedException {
    try {
      return outcome.get(INTERVAL_MILLIS, TimeUnit.MILLISECONDS);
    } catch (TimeoutException notYet) {
      return null;
    } catch (ExecutionException failure) {
      switch (failure.getCause()) {
        case RuntimeException cause -> throw cause;
        case Error cause -> throw cause;
        case null, default -> throw new CompletionException(failure.getCause());
      }
    }
  }

  private Optional<PullStatus> status(String image) {
    String name = ImageReference.parse(image).toString();
    return board.list().stream().filter(pull -> pull.image().equals(name)).findFirst();
  }

  /// `OS/ARCHITECTURE[/VARIANT]`, or null for this machine's.
  private static @Nullable Platform platform(String text) {
    if (text.isEmpty()) {
      return null;
    }
    List<String> parts = List.of(text.split("/", -1));
    if (parts.size() < 2 || parts.size() > 3 || parts.contains("")) {
      throw Status.INVALID_ARGUMENT
          .withDescription(
              "pull: platform \""
                  + text
                  + "\" is not of the form OS/ARCHITECTURE[/VARIANT], such as linux/arm64")
          .asRuntimeException();
    }
    return new Platform(
        parts.get(1), parts.get(0), parts.size() == 3 ? parts.get(2) : null, null, null);
  }

  private static PullsResponse message(List<PullStatus> pulls) {
    var message = PullsResponse.newBuilder();
    pulls.forEach(pull -> message.addPulls(message(pull)));
    return message.build();
  }

  private static PullProgress.Builder message(PullStatus pull) {
    var message =
        PullProgress.newBuilder()
            .setImage(pull.image())
            .setStartedAt(nanos(pull.startedAt()))
            .setSize(pull.size())
            .setFetched(pull.fetched())
            .setRate(pull.rate())
            .setRemaining(pull.remaining().map(left -> left.toNanos()).orElse(-1L));
    for (PullStatus.LayerStatus layer : pull.layers()) {
      message.addLayers(
          PullLayer.newBuilder()
              .setDigest(layer.blob().toString())
              .setSize(layer.size())
              .setFetched(layer.fetched())
              .setState(
                  switch (layer.state()) {
                    case PRESENT -> "present";
                    case WAITING -> "waiting";
                    case FETCHING -> "fetching";
                    case STORING -> "storing";
                    case DONE -> "done";
                  })
              .setHost(layer.host())
              .setRate(layer.rate()));
    }
    return message;
  }

  private static long nanos(Instant instant) {
    return instant.getEpochSecond() * 1_000_000_000L + instant.getNano();
  }
}
