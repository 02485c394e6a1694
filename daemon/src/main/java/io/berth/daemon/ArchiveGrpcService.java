package io.berth.daemon;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import io.berth.admin.v1.ArchivesGrpc;
import io.berth.admin.v1.ExportPiece;
import io.berth.admin.v1.ExportProgress;
import io.berth.admin.v1.ExportRequest;
import io.berth.image.ImageExporter;
import io.berth.image.ImageExporter.Format;
import io.berth.image.ImageExporter.Packing;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.io.OutputStream;
import java.util.Locale;
import java.util.concurrent.CancellationException;

/// Images as archives, for `berth export`.
final class ArchiveGrpcService extends ArchivesGrpc.ArchivesImplBase {
  private static final int PIECE = 256 << 10;

  private final ImageExporter exporter;

  ArchiveGrpcService(ImageExporter exporter) {
    this.exporter = exporter;
  }

  @Override
  public void export(ExportRequest request, StreamObserver<ExportPiece> observer) {
    if (request.getImagesList().isEmpty()) {
      throw invalid("no image is named");
    }
    Format format = choice(Format.class, request.getFormat(), Format.OCI);
    Packing packing =
        choice(
            Packing.class,
            request.getCompression(),
            format == Format.OCI ? Packing.GZIP : Packing.NONE);
    var out = new Pieces(observer);
    try {
      exporter.export(
          request.getImagesList(),
          format,
          packing,
          out,
          (diffId, number, count, bytes) -> {
            out.flush();
            observer.onNext(
                ExportPiece.newBuilder()
                    .setProgress(
                        ExportProgress.newBuilder()
                            .setLayer(diffId.toString())
                            .setNumber(number)
                            .setCount(count)
                            .setBytes(bytes))
                    .build());
          });
    } catch (InterruptedException left) {
      Thread.currentThread().interrupt();
      throw new CancellationException("nobody takes the archive any more");
    }
    out.flush();
    observer.onCompleted();
  }

  private static <E extends Enum<E>> E choice(Class<E> type, String word, E otherwise) {
    if (word.isEmpty()) {
      return otherwise;
    }
    for (E each : type.getEnumConstants()) {
      if (each.name().toLowerCase(Locale.ROOT).equals(word)) {
        return each;
      }
    }
    throw invalid("\"" + word + "\" is unknown");
  }

  private static RuntimeException invalid(String problem) {
    return Status.INVALID_ARGUMENT.withDescription("export: " + problem).asRuntimeException();
  }

  /// Sends what is written, in messages of a good size. A client that is slow holds the writer
  /// back.
  private static final class Pieces extends OutputStream {
    private final StreamObserver<ExportPiece> observer;
    private byte[] piece = new byte[PIECE];
    private int filled;

    Pieces(StreamObserver<ExportPiece> observer) {
      this.observer = observer;
    }

    @Override
    public void write(int b) {
      write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) {
      int from = offset;
      int left = length;
      while (left > 0) {
        int n = Math.min(left, PIECE - filled);
        System.arraycopy(bytes, from, piece, filled, n);
        filled += n;
        from += n;
        left -= n;
        if (filled == PIECE) {
          flush();
        }
      }
    }

    @Override
    public void flush() {
      if (filled > 0) {
        ByteString data = UnsafeByteOperations.unsafeWrap(piece, 0, filled);
        piece = new byte[PIECE]; // the message keeps the old one until it is sent
        filled = 0;
        observer.onNext(ExportPiece.newBuilder().setData(data).build());
      }
    }

    /// The archive's end is not the call's: what compresses it closes this, too.
    @Override
    public void close() {
      flush();
    }
  }
}
