package io.berth.daemon;

import io.berth.admin.v1.PullProgress;
import io.berth.admin.v1.PullRequest;
import io.berth.admin.v1.PullsRequest;
import io.berth.admin.v1.PullsResponse;
import io.berth.admin.v1.RouteRequest;
import io.berth.admin.v1.RouteStop;
import io.berth.admin.v1.TransfersGrpc;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import java.nio.file.Path;
import java.util.List;

/// Asks a running daemon about what comes from registries, and prints it.
final class TransferClient implements AutoCloseable {
  private final Path socket;
  private final DaemonConnection connection;

  TransferClient(Path socket) {
    this.socket = socket;
    this.connection = new DaemonConnection(socket);
  }

  /// Prints the image's id at the end. As JSON one object a line, the last one with `image_id`.
  void pull(PullRequest request, boolean json) throws InterruptedException {
    PullDisplay display = PullDisplay.here();
    try {
      BlockingClientCall<?, PullProgress> call =
          TransfersGrpc.newBlockingV2Stub(connection.channel()).pull(request);
      for (PullProgress pull = call.read(); pull != null; pull = call.read()) {
        if (json) {
          System.out.println(AdminJson.line(pull));
        } else if (pull.getImageId().isEmpty()) {
          display.show(List.of(pull));
        } else {
          display.show(List.of());
          System.out.println(pull.getImageId());
        }
      }
    } catch (StatusException failure) {
      throw AdminClient.words(socket, failure.getStatus(), failure);
    }
  }

  void pulls(boolean watch, boolean json) throws InterruptedException {
    PullDisplay display = PullDisplay.here();
    try {
      BlockingClientCall<?, PullsResponse> call =
          TransfersGrpc.newBlockingV2Stub(connection.channel())
              .pulls(PullsRequest.newBuilder().setFollow(watch).build());
      for (PullsResponse pulls = call.read(); pulls != null; pulls = call.read()) {
        if (json) {
          System.out.println(AdminJson.array(pulls.getPullsList()));
        } else if (watch) {
          display.show(pulls.getPullsList());
        } else {
          display.showOnce(pulls.getPullsList());
        }
      }
    } catch (StatusException failure) {
      throw AdminClient.words(socket, failure.getStatus(), failure);
    }
  }

  /// Returns whether a host has the image.
  boolean explain(String image, boolean json) throws InterruptedException {
    List<RouteStop> stops;
    try {
      stops =
          TransfersGrpc.newBlockingV2Stub(connection.channel())
              .explain(RouteRequest.newBuilder().setImage(image).build())
              .getStopsList();
    } catch (StatusException failure) {
      throw AdminClient.words(socket, failure.getStatus(), failure);
    }
    if (json) {
      System.out.println(AdminJson.array(stops));
    } else {
      int number = 1;
      for (RouteStop stop : stops) {
        System.out.printf(
            """
            %d. %s (%s, %s)
               may: %s; credentials: %s; proxy: %s
               %s: %s
            """,
            number++,
            stop.getUrl(),
            stop.getMirror() ? "mirror" : "the registry itself",
            stop.getSource(),
            stop.getMay(),
            stop.getCredentials(),
            stop.getProxy(),
            stop.getServes() ? "has it" : "no",
            stop.getAnswer());
      }
    }
    return stops.stream().anyMatch(RouteStop::getServes);
  }

  @Override
  public void close() {
    connection.close();
  }
}
