package io.berth.daemon;

import io.berth.linux.ErrnoException;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import java.util.concurrent.CancellationException;

/// The one place where failures become gRPC codes. Each module's reasons are switched over without
/// a default, so that a new reason does not compile until it has its code here.
final class GrpcErrors {
  private GrpcErrors() {}

  /// The status of a call that failed. A caller who left or whose deadline passed decides the code,
  /// whatever the work beneath made of the interruption.
  static Status status(Throwable failure, Context context) {
    if (context.isCancelled()) {
      return abandoned(context).withDescription(words(failure)).withCause(failure);
    }
    Status status =
        switch (failure) {
          case StatusRuntimeException known -> known.getStatus();
          case StatusException known -> known.getStatus();
          // Nobody cancelled this call, so the daemon itself is stopping.
          case CancellationException _, InterruptedException _ -> Status.UNAVAILABLE;
          case ErrnoException _ -> Status.INTERNAL;
          case IllegalArgumentException _ -> Status.INVALID_ARGUMENT;
          default -> Status.INTERNAL;
        };
    return status.getDescription() == null
        ? status.withDescription(words(failure)).withCause(failure)
        : status.withCause(failure);
  }

  /// DEADLINE_EXCEEDED, not CANCELLED, once the deadline has passed: clients that give up send a
  /// reset, which can arrive before our own timer fires.
  static Status abandoned(Context context) {
    Deadline deadline = context.getDeadline();
    return deadline != null && deadline.isExpired() ? Status.DEADLINE_EXCEEDED : Status.CANCELLED;
  }

  private static String words(Throwable failure) {
    String message = failure.getMessage();
    return switch (failure) {
      case CancellationException _, InterruptedException _ when message == null ->
          "the call was interrupted";
      default -> message == null ? failure.toString() : message;
    };
  }
}
