package io.berth.daemon;

import com.google.protobuf.ByteString;
import com.google.protobuf.Message;
import io.berth.admin.v1.AdminGrpc;
import io.berth.admin.v1.Debt;
import io.berth.admin.v1.DebtsRequest;
import io.berth.admin.v1.ExplainRequest;
import io.berth.admin.v1.ExplainResponse;
import io.berth.admin.v1.ImageTrustRequest;
import io.berth.admin.v1.ImageTrustResponse;
import io.berth.admin.v1.ImportChunk;
import io.berth.admin.v1.ImportLabel;
import io.berth.admin.v1.ImportResponse;
import io.berth.admin.v1.OperationsRequest;
import io.berth.daemon.DaemonException.Reason;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.BlockingClientCall;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/// The part of `berth` that talks to a running daemon and prints its answers.
final class AdminClient implements AutoCloseable {
  private static final int PIECE = 1 << 20;

  private final Path socket;
  private final DaemonConnection connection;

  AdminClient(Path socket) {
    this.socket = socket;
    this.connection = new DaemonConnection(socket);
  }

  void debts(boolean json) {
    List<Debt> debts = ask(admin -> admin.debts(DebtsRequest.getDefaultInstance())).getDebtsList();
    if (json) {
      System.out.println(AdminJson.array(debts));
    } else if (debts.isEmpty()) {
      System.out.println("nothing is owed");
    } else {
      debts.forEach(debt -> System.out.println(text(debt)));
    }
  }

  /// @return whether the image may be used
  boolean imageTrust(String image, String namespace, boolean json) {
    var request = ImageTrustRequest.newBuilder().setImage(image).setNamespace(namespace).build();
    ImageTrustResponse verdict = ask(admin -> admin.imageTrust(request));
    if (json) {
      System.out.println(AdminJson.object(verdict).toPrettyString());
      return verdict.getAccepted();
    }
    System.out.println(
        verdict.getImage() + (verdict.getAccepted() ? " may be used" : " may not be used"));
    System.out.println("policy: " + verdict.getPolicy() + ", scope \"" + verdict.getScope() + "\"");
    verdict.getRequirementsList().forEach(each -> System.out.println("rule: " + each));
    System.out.println(
        verdict.getPresent()
            ? "signatures kept with the image: " + verdict.getSignatures()
            : "the image isn't here; a pull will look for signatures where the rule wants them");
    verdict.getUnmetList().forEach(each -> System.out.println("not met: " + each));
    return verdict.getAccepted();
  }

  /// @param all the finished ones, too
  void operations(String object, boolean all, boolean json) {
    var request = OperationsRequest.newBuilder().setObject(object).setRunning(!all).build();
    List<io.berth.admin.v1.Operation> operations =
        ask(admin -> admin.operations(request)).getOperationsList();
    if (json) {
      System.out.println(AdminJson.array(operations));
    } else if (operations.isEmpty()) {
      System.out.println(all ? "nothing is recorded" : "nothing is running");
    } else {
      operations.forEach(operation -> System.out.print(OperationText.of(operation)));
    }
  }

  ExplainResponse explain(String pod) {
    return ask(admin -> admin.explain(ExplainRequest.newBuilder().setPod(pod).build()));
  }

  /// Sends the archive in pieces, no faster than the daemon takes them, and prints what it held.
  ///
  /// @param file `-` for standard input
  void importArchive(String file, String name) throws IOException, InterruptedException {
    try (InputStream archive =
        file.equals("-")
            ? System.in
            : new BufferedInputStream(Files.newInputStream(Path.of(file)))) {
      var admin = AdminGrpc.newBlockingV2Stub(connection.channel());
      BlockingClientCall<ImportChunk, ImportResponse> call = admin.import_();
      var label =
          ImportLabel.newBuilder()
              .setSource(file.equals("-") ? "standard input" : file)
              .setName(name);
      boolean open = call.write(ImportChunk.newBuilder().setLabel(label).build());
      byte[] piece = new byte[PIECE];
      for (int n = archive.readNBytes(piece, 0, PIECE);
          open && n > 0;
          n = archive.readNBytes(piece, 0, PIECE)) {
        open =
            call.write(ImportChunk.newBuilder().setData(ByteString.copyFrom(piece, 0, n)).build());
      }
      call.halfClose();
      ImportResponse response = call.read();
      if (response == null) {
        throw new DaemonException(
            Reason.UNREACHABLE,
            "import " + file + ": berthd ended the call without an answer",
            null);
      }
      response.getImagesList().forEach(System.out::println);
    } catch (StatusException failure) {
      throw words(socket, failure.getStatus(), failure);
    }
  }

  @Override
  public void close() {
    connection.close();
  }

  private <T extends Message> T ask(Function<AdminGrpc.AdminBlockingStub, T> question) {
    try {
      return question.apply(
          AdminGrpc.newBlockingStub(connection.channel()).withDeadlineAfter(30, TimeUnit.SECONDS));
    } catch (StatusRuntimeException failure) {
      throw words(socket, failure.getStatus(), failure);
    }
  }

  /// What a failed call tells an administrator.
  static DaemonException words(Path socket, Status status, Exception failure) {
    if (status.getCode() == Status.Code.UNAVAILABLE && status.getCause() instanceof IOException) {
      return new DaemonException(
          Reason.UNREACHABLE,
          "nobody answers on "
              + socket
              + ": start berthd (systemctl start berthd), be root or in its group, or name another"
              + " socket with --socket",
          failure);
    }
    String description = status.getDescription();
    return new DaemonException(
        Reason.REFUSED, description == null ? status.getCode().toString() : description, failure);
  }

  private static String text(Debt debt) {
    return "%s %s, owed since %s, %d attempts, next at %s%n    %s"
        .formatted(
            debt.getKind(),
            debt.getSubject(),
            time(debt.getSince()),
            debt.getAttempts(),
            time(debt.getNextAttempt()),
            debt.getLastError());
  }

  private static Instant time(long nanos) {
    return Instant.EPOCH.plus(Duration.ofNanos(nanos)).truncatedTo(ChronoUnit.MILLIS);
  }
}
