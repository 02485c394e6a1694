package io.berth.daemon;

import io.berth.admin.v1.CollectRequest;
import io.berth.admin.v1.CollectResponse;
import io.berth.admin.v1.GraphRequest;
import io.berth.admin.v1.GraphResponse;
import io.berth.admin.v1.ImageLayer;
import io.berth.admin.v1.InspectRequest;
import io.berth.admin.v1.InspectResponse;
import io.berth.admin.v1.PruneRequest;
import io.berth.admin.v1.PruneResponse;
import io.berth.admin.v1.StoreGrpc;
import io.berth.admin.v1.StoreImage;
import io.berth.admin.v1.StoreLayer;
import io.berth.admin.v1.VerifyRequest;
import io.berth.admin.v1.VerifyResponse;
import io.berth.image.Image;
import io.berth.image.ImagePruner;
import io.berth.image.ImageStore;
import io.berth.image.StoreGraph;
import io.berth.image.StoreVerifier;
import io.berth.snapshot.Layer;
import io.berth.snapshot.Pace;
import io.berth.snapshot.Snapshotter;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CancellationException;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/// What `berth image` asks of a running daemon beyond the CRI.
final class StoreGrpcService extends StoreGrpc.StoreImplBase {
  private final ImageStore images;
  private final ImagePruner pruner;
  private final StoreVerifier verifier;
  private final Supplier<StoreGraph> graphs;
  private final Duration grace;

  /// @param grace how long a layer stays that nothing refers to
  StoreGrpcService(
      ImageStore images,
      Snapshotter snapshotter,
      StoreVerifier verifier,
      Supplier<StoreGraph> graphs,
      Duration grace) {
    this.images = images;
    this.pruner = new ImagePruner(images, snapshotter, graphs);
    this.verifier = verifier;
    this.graphs = graphs;
    this.grace = grace;
  }

  @Override
  public void graph(GraphRequest request, StreamObserver<GraphResponse> observer) {
    StoreGraph graph = graphs.get();
    var response = GraphResponse.newBuilder();
    graph.images().forEach(node -> response.addImages(image(node)));
    graph.layers().forEach(node -> response.addLayers(layer(node)));
    observer.onNext(response.build());
    observer.onCompleted();
  }

  @Override
  public void inspect(InspectRequest request, StreamObserver<InspectResponse> observer) {
    Image image = required(request.getImage());
    StoreGraph.ImageNode node =
        graphs
            .get()
            .image(image.id())
            .orElseThrow(() -> new IllegalStateException("image " + image.id() + " was removed"));
    var response =
        InspectResponse.newBuilder().setImage(image(node)).setConfig(node.image().configText());
    for (StoreGraph.ImageLayer part : node.layers()) {
      Layer layer = part.layer();
      response.addLayers(
          ImageLayer.newBuilder()
              .setChainId(layer.chainId().toString())
              .setDiffId(layer.diffId().toString())
              .setBlob(part.blob())
              .setMediaType(part.mediaType())
              .setTransferBytes(part.blobBytes())
              .setBytes(layer.usage().bytes())
              .setInodes(layer.usage().inodes()));
    }
    observer.onNext(response.build());
    observer.onCompleted();
  }

  @Override
  public void prune(PruneRequest request, StreamObserver<PruneResponse> observer) {
    long before =
        request.getBefore() == 0
            ? Long.MAX_VALUE
            : TimeUnit.NANOSECONDS.toMillis(request.getBefore());
    ImagePruner.Pruned pruned = pruner.prune(request.getDangling(), before, request.getDryRun());
    var response = PruneResponse.newBuilder().setFreedBytes(pruned.bytes());
    pruned.images().forEach(node -> response.addRemoved(image(node)));
    observer.onNext(response.build());
    observer.onCompleted();
  }

  @Override
  public void collect(CollectRequest request, StreamObserver<CollectResponse> observer) {
    observer.onNext(CollectResponse.newBuilder().setFreedBytes(pruner.collect()).build());
    observer.onCompleted();
  }

  @Override
  public void verify(VerifyRequest request, StreamObserver<VerifyResponse> observer) {
    List<Layer> layers =
        request.getImage().isEmpty()
            ? verifier.allLayers()
            : verifier.layersOf(List.of(required(request.getImage())));
    try {
      verifier.verify(
          layers,
          _ -> true,
          request.getRepair(),
          Pace.unlimited(),
          checked -> observer.onNext(verified(checked)));
    } catch (InterruptedException left) {
      Thread.currentThread().interrupt();
      throw new CancellationException("nobody waits for the comparison any more");
    }
    observer.onCompleted();
  }

  private static VerifyResponse verified(StoreVerifier.Checked checked) {
    return VerifyResponse.newBuilder()
        .setChainId(checked.layer().chainId().toString())
        .addAllImages(checked.images())
        .setManifest(checked.found().manifest())
        .setFiles(checked.found().files())
        .setBytes(checked.found().bytes())
        .setFlawCount(checked.found().flawCount())
        .addAllFlaws(checked.found().flaws().stream().map(Object::toString).toList())
        .setRepair(checked.repair())
        .setSound(checked.sound())
        .build();
  }

  private Image required(String name) {
    return images
        .find(name)
        .orElseThrow(() ->
            Status.NOT_FOUND
                .withDescription(
                    "there is no image " + name + ", see berth image list; berth pull fetches it")
                .asRuntimeException());
  }

  private static StoreImage image(StoreGraph.ImageNode node) {
    return StoreImage.newBuilder()
        .setId(node.image().id().toString())
        .addAllTags(node.image().repoTags())
        .addAllDigests(node.image().repoDigests())
        .setPinned(node.image().pinned())
        .setBytes(node.bytes())
        .setUniqueBytes(node.uniqueBytes())
        .setTransferBytes(node.transferBytes())
        .setUpdatedAt(TimeUnit.MILLISECONDS.toNanos(node.updatedAt()))
        .addAllLayers(node.image().layers().stream().map(Object::toString).toList())
        .addAllUsedBy(node.users())
        .setArtifactType(Objects.requireNonNullElse(node.image().artifactType(), ""))
        .build();
  }

  private StoreLayer layer(StoreGraph.LayerNode node) {
    Layer layer = node.layer();
    long since = node.unreferencedSince();
    return StoreLayer.newBuilder()
        .setChainId(layer.chainId().toString())
        .setParent(layer.parent() == null ? "" : layer.parent().toString())
        .setDiffId(layer.diffId().toString())
        .setBytes(layer.usage().bytes())
        .setInodes(layer.usage().inodes())
        .addAllHeldBy(node.holders())
        .setGoesAt(since == 0 ? 0 : TimeUnit.MILLISECONDS.toNanos(since + grace.toMillis()))
        .build();
  }
}
