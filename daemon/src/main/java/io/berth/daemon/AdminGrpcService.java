package io.berth.daemon;

import io.berth.admin.v1.AdminGrpc;
import io.berth.admin.v1.Debt;
import io.berth.admin.v1.DebtsRequest;
import io.berth.admin.v1.DebtsResponse;
import io.berth.admin.v1.ExplainRequest;
import io.berth.admin.v1.ExplainResponse;
import io.berth.admin.v1.ImageTrustRequest;
import io.berth.admin.v1.ImageTrustResponse;
import io.berth.admin.v1.ImportChunk;
import io.berth.admin.v1.ImportLabel;
import io.berth.admin.v1.ImportResponse;
import io.berth.admin.v1.OperationsRequest;
import io.berth.admin.v1.OperationsResponse;
import io.berth.linux.DebtLedger;
import io.berth.linux.Stages;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/// What `berth` asks of a running daemon beyond the CRI.
final class AdminGrpcService extends AdminGrpc.AdminImplBase {
  /// Takes in an archive; returns the names of its images.
  @FunctionalInterface
  interface Importer {
    /// Reads the stream to its end.
    ///
    /// @param source where the archive comes from, for messages
    /// @param name for an image to which the archive gives none; may be empty
    List<String> importArchive(InputStream archive, String source, String name)
        throws InterruptedException;
  }

  private final OperationLog operations;
  private final DebtLedger debts;
  private final Function<ImageTrustRequest, ImageTrustResponse> trust;
  private final Importer importer;
  private final PodHistory history;

  AdminGrpcService(
      OperationLog operations,
      PodHistory history,
      DebtLedger debts,
      Function<ImageTrustRequest, ImageTrustResponse> trust,
      Importer importer) {
    this.operations = operations;
    this.history = history;
    this.debts = debts;
    this.trust = trust;
    this.importer = importer;
  }

  @Override
  public void operations(OperationsRequest request, StreamObserver<OperationsResponse> observer) {
    var response = OperationsResponse.newBuilder();
    for (Operation operation : operations.list(request.getObject(), !request.getRunning())) {
      response.addOperations(AdminMessages.of(operation));
    }
    observer.onNext(response.build());
    observer.onCompleted();
  }

  @Override
  public void explain(ExplainRequest request, StreamObserver<ExplainResponse> observer) {
    List<Operation> found;
    try {
      found = history.of(request.getPod());
    } catch (InterruptedException left) {
      throw new CancellationException("nobody waits for the explanation any more");
    } catch (IOException unreadable) {
      throw Status.UNKNOWN
          .withDescription("explain pod " + request.getPod() + ": " + unreadable)
          .asRuntimeException();
    }
    if (found.isEmpty()) {
      throw Status.NOT_FOUND
          .withDescription(PodHistory.nothingOf(request.getPod()))
          .asRuntimeException();
    }
    observer.onNext(AdminMessages.explanation(found));
    observer.onCompleted();
  }

  @Override
  public void debts(DebtsRequest request, StreamObserver<DebtsResponse> observer) {
    var response = DebtsResponse.newBuilder();
    for (DebtLedger.Entry entry : debts.list()) {
      response.addDebts(
          Debt.newBuilder()
              .setId(entry.id())
              .setKind(entry.kind())
              .setSubject(entry.subject())
              .putAllDetails(entry.details())
              .setSince(entry.since())
              .setAttempts(entry.attempts())
              .setLastError(entry.lastError())
              .setNextAttempt(entry.nextAttempt()));
    }
    observer.onNext(response.build());
    observer.onCompleted();
  }

  @Override
  public void imageTrust(ImageTrustRequest request, StreamObserver<ImageTrustResponse> observer) {
    observer.onNext(trust.apply(request));
    observer.onCompleted();
  }

  @Override
  public StreamObserver<ImportChunk> import_(StreamObserver<ImportResponse> observer) {
    return new Import(observer);
  }

  /// One archive on its way in: chunks arrive here, a thread of its own unpacks them.
  private final class Import implements StreamObserver<ImportChunk> {
    private final StreamObserver<ImportResponse> observer;
    private final ChunkStream stream = new ChunkStream();
    private @Nullable Thread worker;

    Import(StreamObserver<ImportResponse> observer) {
      this.observer = observer;
    }

    @Override
    public void onNext(ImportChunk chunk) {
      switch (chunk.getPartCase()) {
        case LABEL -> {
          if (worker != null) {
            throw invalid("a second label");
          }
          start(chunk.getLabel());
        }
        case DATA -> {
          if (worker == null) {
            throw invalid("data before the label");
          }
          send(() -> stream.add(chunk.getData()));
        }
        case PART_NOT_SET -> throw invalid("an empty chunk");
      }
    }

    @Override
    public void onCompleted() {
      if (worker == null) {
        throw invalid("no label");
      }
      send(stream::end);
    }

    @Override
    public void onError(Throwable left) {
      abandon();
    }

    private void start(ImportLabel label) {
      Stages.Log stages = Stages.current();
      worker =
          Thread.ofVirtual()
              .name(Thread.currentThread().getName())
              .start(() -> work(label, stages));
    }

    private void work(ImportLabel label, Stages.Log stages) {
      try {
        List<String> images =
            Stages.record(
                stages, () -> importer.importArchive(stream, label.getSource(), label.getName()));
        observer.onNext(ImportResponse.newBuilder().addAllImages(images).build());
        observer.onCompleted();
      } catch (Exception failure) {
        observer.onError(failure);
      }
    }

    private void send(Sending sending) {
      try {
        sending.run();
      } catch (InterruptedException cancelled) {
        abandon();
        throw new CancellationException("the import was interrupted");
      }
    }

    private void abandon() {
      if (worker != null) {
        worker.interrupt();
      }
    }

    private static RuntimeException invalid(String problem) {
      return Status.INVALID_ARGUMENT
          .withDescription("import: the client sent " + problem)
          .asRuntimeException();
    }
  }

  private interface Sending {
    void run() throws InterruptedException;
  }
}
