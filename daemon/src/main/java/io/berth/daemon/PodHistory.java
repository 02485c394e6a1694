package io.berth.daemon;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/// All that is known of what was done for a pod: what the flight recorder kept, and what runs now.
final class PodHistory {
  private final FlightRecorder recorder;
  private final OperationLog operations;

  PodHistory(FlightRecorder recorder, OperationLog operations) {
    this.recorder = recorder;
    this.operations = operations;
  }

  /// Of one pod, oldest first. Of several that a query names it is the one of the latest operation.
  ///
  /// @param query as for [Subject#isCalled]
  List<Operation> of(String query) throws InterruptedException, IOException {
    Map<String, Operation> running = new HashMap<>();
    operations.running().forEach(call -> running.put(call.requestId(), call.now()));
    List<Operation> found = new ArrayList<>();
    for (Operation recorded : recorder.of(query)) {
      Operation live = recorded.isRunning() ? running.remove(recorded.requestId()) : null;
      if (live != null) {
        found.add(live);
      } else {
        found.add(recorded.isRunning() ? FlightRecorder.lost(recorded) : recorded);
      }
    }
    // Reading calls have no line while they run.
    running.values().stream().filter(o -> o.subject().isCalled(query)).forEach(found::add);
    return ofTheLatestPod(found);
  }

  /// As [#of], without a daemon.
  static List<Operation> read(Path folder, String query) throws IOException {
    return ofTheLatestPod(
        FlightRecorder.read(folder.resolve(FlightRecorder.FILE), query).stream()
            .map(recorded -> recorded.isRunning() ? FlightRecorder.lost(recorded) : recorded)
            .toList());
  }

  static String nothingOf(String query) {
    return "explain pod "
        + query
        + ": nothing is recorded of such a pod; say NAME, NAMESPACE/NAME or the beginning of its id"
        + " (crictl pods lists them), or raise recorder.size for the next time";
  }

  private static List<Operation> ofTheLatestPod(List<Operation> found) {
    List<Operation> sorted =
        found.stream().sorted(Comparator.comparing(Operation::startedAt)).toList();
    if (sorted.isEmpty()) {
      return sorted;
    }
    Subject latest = sorted.getLast().subject();
    return sorted.stream().filter(o -> o.subject().isSamePod(latest)).toList();
  }
}
