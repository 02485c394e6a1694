package io.berth.daemon;

import io.berth.admin.v1.CollectRequest;
import io.berth.admin.v1.CollectResponse;
import io.berth.admin.v1.GraphRequest;
import io.berth.admin.v1.GraphResponse;
import io.berth.admin.v1.InspectRequest;
import io.berth.admin.v1.InspectResponse;
import io.berth.admin.v1.PruneRequest;
import io.berth.admin.v1.PruneResponse;
import io.berth.admin.v1.StoreGrpc;
import io.berth.admin.v1.VerifyRequest;
import io.berth.admin.v1.VerifyResponse;
import io.berth.cri.v1.ImageServiceGrpc;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.RemoveImageRequest;
import io.grpc.StatusRuntimeException;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Supplier;

/// The part of `berth` that asks a running daemon about images.
final class StoreClient implements AutoCloseable {
  private static final long MINUTES = 10;

  private final Path socket;
  private final DaemonConnection connection;

  StoreClient(Path socket) {
    this.socket = socket;
    this.connection = new DaemonConnection(socket);
  }

  GraphResponse graph() {
    return ask(() -> store().graph(GraphRequest.getDefaultInstance()));
  }

  InspectResponse inspect(String image) {
    return ask(() -> store().inspect(InspectRequest.newBuilder().setImage(image).build()));
  }

  PruneResponse prune(PruneRequest request) {
    return ask(() -> store().prune(request));
  }

  CollectResponse collect() {
    return ask(() -> store().collect(CollectRequest.getDefaultInstance()));
  }

  /// Tells of each layer as soon as it was compared, however long all of them take.
  void verify(VerifyRequest request, Consumer<VerifyResponse> told) {
    var _ =
        ask(() -> {
          StoreGrpc.newBlockingStub(connection.channel()).verify(request).forEachRemaining(told);
          return request;
        });
  }

  /// @param image an id
  void remove(String image) {
    var request =
        RemoveImageRequest.newBuilder().setImage(ImageSpec.newBuilder().setImage(image)).build();
    var _ =
        ask(() ->
            ImageServiceGrpc.newBlockingStub(connection.channel())
                .withDeadlineAfter(MINUTES, TimeUnit.MINUTES)
                .removeImage(request));
  }

  private StoreGrpc.StoreBlockingStub store() {
    return StoreGrpc.newBlockingStub(connection.channel())
        .withDeadlineAfter(MINUTES, TimeUnit.MINUTES);
  }

  private <T> T ask(Supplier<T> question) {
    try {
      return question.get();
    } catch (StatusRuntimeException failure) {
      throw AdminClient.words(socket, failure.getStatus(), failure);
    }
  }

  @Override
  public void close() {
    connection.close();
  }
}
