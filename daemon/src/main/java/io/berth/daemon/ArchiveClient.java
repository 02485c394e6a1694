package io.berth.daemon;

import io.berth.admin.v1.ArchivesGrpc;
import io.berth.admin.v1.ExportPiece;
import io.berth.admin.v1.ExportProgress;
import io.berth.admin.v1.ExportRequest;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Path;
import java.util.function.Consumer;

/// Takes archives from a running daemon.
final class ArchiveClient implements AutoCloseable {
  private final Path socket;
  private final DaemonConnection connection;

  ArchiveClient(Path socket) {
    this.socket = socket;
    this.connection = new DaemonConnection(socket);
  }

  /// Writes an archive; when this throws, it is incomplete.
  void export(ExportRequest request, OutputStream out, Consumer<ExportProgress> progress)
      throws IOException, InterruptedException {
    try {
      BlockingClientCall<?, ExportPiece> call =
          ArchivesGrpc.newBlockingV2Stub(connection.channel()).export(request);
      try {
        for (ExportPiece piece = call.read(); piece != null; piece = call.read()) {
          switch (piece.getPartCase()) {
            case DATA -> piece.getData().writeTo(out);
            case PROGRESS -> progress.accept(piece.getProgress());
            case PART_NOT_SET -> {}
          }
        }
      } catch (IOException failure) {
        call.cancel("the archive can't be written", failure);
        throw failure;
      }
    } catch (StatusException failure) {
      throw AdminClient.words(socket, failure.getStatus(), failure);
    }
  }

  @Override
  public void close() {
    connection.close();
  }
}
