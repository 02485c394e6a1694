package io.berth.daemon;

import io.berth.admin.v1.ExplainResponse;
import io.berth.admin.v1.Stage;
import io.berth.linux.Stages;
import java.util.List;

/// Operations in the form of the administration protocol.
final class AdminMessages {
  private AdminMessages() {}

  static io.berth.admin.v1.Operation of(Operation operation) {
    long start = OperationJson.nanos(operation.startedAt());
    Subject subject = operation.subject();
    var message =
        io.berth.admin.v1.Operation.newBuilder()
            .setRequestId(operation.requestId())
            .setMethod(operation.method())
            .setObject(operation.object())
            .setPodId(subject.podId())
            .setPodName(subject.podName())
            .setPodUid(subject.podUid())
            .setContainer(subject.container())
            .setStartedAt(start)
            .setElapsed(operation.elapsed().toNanos())
            .setError(
                operation.error().isEmpty() ? "" : operation.code() + ": " + operation.error());
    if (!operation.isRunning()) {
      message.setFinishedAt(start + operation.elapsed().toNanos());
      message.setCode(String.valueOf(operation.code()));
    }
    operation.stages().forEach(stage -> message.addStages(of(stage)));
    return message.build();
  }

  private static Stage.Builder of(Stages.Stage stage) {
    String error = stage.error();
    Stages.Waited process = stage.process();
    var message =
        Stage.newBuilder()
            .setName(stage.name())
            .setSubject(stage.subject())
            .setStartedAt(stage.startedAt())
            .setDuration(stage.running() ? 0 : stage.elapsed().toNanos())
            .setElapsed(stage.elapsed().toNanos())
            .setRunning(stage.running())
            .setDepth(stage.depth())
            .setError(error == null ? "" : error);
    if (process != null) {
      message.setProcess(process.name()).setPid(process.pid()).setChain(process.chain());
    }
    return message;
  }

  /// @param operations of one pod, oldest first; at least one
  static ExplainResponse explanation(List<Operation> operations) {
    Subject pod = operations.getLast().subject();
    var message =
        ExplainResponse.newBuilder()
            .setPodName(pod.podName())
            .setPodUid(pod.podUid())
            .addAllFindings(Explanation.of(operations));
    operations.forEach(operation -> message.addOperations(of(operation)));
    return message.build();
  }
}
