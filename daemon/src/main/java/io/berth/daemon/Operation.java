package io.berth.daemon;

import io.berth.linux.Stages;
import io.grpc.Status;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/// One call, or one piece of work in the background, running or finished, as it stood when it was
/// asked for.
///
/// @param method without its service, as in `RunPodSandbox`; in the background as in `settle
///   cni-del`
/// @param object the id, pod or image the request names; empty when there is none
/// @param elapsed until now while the call runs
/// @param code null while the call runs
/// @param error empty unless the call failed
/// @param trace the caller's `traceparent`; empty when it sent none
record Operation(
    String requestId,
    String method,
    String object,
    Subject subject,
    Instant startedAt,
    Duration elapsed,
    Status.@Nullable Code code,
    String error,
    String trace,
    List<Stages.Stage> stages) {

  /// Calls that change nothing. The kubelet polls them every second, so that neither the log nor
  /// the list of recent operations may be filled with them.
  private static final Pattern READING =
      Pattern.compile(
          "Version|Status|RuntimeConfig|ImageFsInfo|ImageTrust|Debts|Operations|Explain"
              + "|(List|Stream|Get).*|.*(Status|Stats)");

  static boolean isReading(String method) {
    return READING.matcher(method).matches();
  }

  /// Calls are named as in the protocol; work in the background begins with a small letter.
  boolean isCall() {
    return Character.isUpperCase(method.charAt(0));
  }

  /// Calls that probes repeat every second for as long as a pod lives.
  boolean isRepeated() {
    return method.equals("ExecSync");
  }

  boolean isRunning() {
    return code == null;
  }

  boolean concerns(String objectPrefix) {
    return object.startsWith(objectPrefix) || subject.isCalled(objectPrefix);
  }

  /// `RunPodSandbox default/web OK 212.4 ms (network 180.1, record 2.0)`.
  String describe() {
    var line = new StringBuilder(method);
    if (!object.isEmpty()) {
      line.append(' ').append(object);
    }
    line.append(' ').append(code == null ? "running for" : code).append(' ');
    line.append(millis(elapsed)).append(" ms");
    if (!stages.isEmpty()) {
      line.append(
          stages.stream()
              .filter(stage -> stage.depth() == 0)
              .map(Operation::describe)
              .collect(Collectors.joining(", ", " (", ")")));
    }
    if (!error.isEmpty()) {
      line.append(": ").append(error);
    }
    return line.toString();
  }

  private static String describe(Stages.Stage stage) {
    return stage.name() + " " + (stage.running() ? "..." : millis(stage.elapsed()));
  }

  private static String millis(Duration duration) {
    return String.format(Locale.ROOT, "%.1f", duration.toNanos() / 1e6);
  }
}
