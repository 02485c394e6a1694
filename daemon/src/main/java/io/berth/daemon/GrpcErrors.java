package io.berth.daemon;

import io.berth.cni.CniException;
import io.berth.image.ImageException;
import io.berth.linux.ErrnoException;
import io.berth.runtime.ContainerException;
import io.berth.sandbox.SandboxException;
import io.berth.snapshot.SnapshotException;
import io.berth.streaming.StreamingException;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Status;
import io.grpc.Status.Code;
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
          case CniException cni -> code(cni.reason()).toStatus();
          case SnapshotException snapshot -> code(snapshot.reason()).toStatus();
          case ImageException image -> code(image.reason()).toStatus();
          case SandboxException sandbox -> code(sandbox.reason()).toStatus();
          case ContainerException container -> code(container.reason()).toStatus();
          case StreamingException streaming -> code(streaming.reason()).toStatus();
          case ErrnoException _ -> Status.INTERNAL;
          case IllegalArgumentException _ -> Status.INVALID_ARGUMENT;
          default -> Status.INTERNAL;
        };
    return status.getDescription() == null
        ? status.withDescription(words(failure)).withCause(failure)
        : status.withCause(failure);
  }

  // UNKNOWN is what a failing environment gets (a plugin, a runtime, a file system): the kubelet
  // shows its text as it is. INTERNAL is left to our own mistakes. NOT_FOUND tells the kubelet that
  // the object of the call is gone, so nothing else may use it.

  static Code code(CniException.Reason reason) {
    return switch (reason) {
      case NETWORK_NOT_READY, TRY_AGAIN -> Code.UNAVAILABLE;
      case PLUGIN_FAILED, BAD_RESULT, CACHE_FAILED -> Code.UNKNOWN;
      case TIMED_OUT -> Code.DEADLINE_EXCEEDED;
      case INVALID_ARGUMENT -> Code.INVALID_ARGUMENT;
      case NOT_ATTACHED -> Code.FAILED_PRECONDITION;
    };
  }

  static Code code(SnapshotException.Reason reason) {
    return switch (reason) {
      case LAYER_MISSING -> Code.FAILED_PRECONDITION;
      case SNAPSHOT_MISSING, KEY_REFUSED -> Code.INTERNAL;
      case NO_SPACE -> Code.RESOURCE_EXHAUSTED;
      case FILE_SYSTEM -> Code.UNKNOWN;
    };
  }

  static Code code(ImageException.Reason reason) {
    return switch (reason) {
      case NOT_FOUND -> Code.NOT_FOUND;
      case INVALID, AMBIGUOUS -> Code.INVALID_ARGUMENT;
      case UNAUTHORIZED -> Code.UNAUTHENTICATED;
      // The kubelet reads why a pull failed from the beginning of the text, and puts the code
      // before
      // it unless that is UNKNOWN.
      case REGISTRY_UNAVAILABLE, SIGNATURE -> Code.UNKNOWN;
      case CORRUPT -> Code.DATA_LOSS;
      case UNSUPPORTED, NO_PLATFORM, CONFIGURATION -> Code.FAILED_PRECONDITION;
      case DISK -> Code.RESOURCE_EXHAUSTED;
    };
  }

  static Code code(ContainerException.Reason reason) {
    return switch (reason) {
      case NOT_FOUND, NO_IMAGE -> Code.NOT_FOUND;
      case INVALID -> Code.INVALID_ARGUMENT;
      case CONFLICT -> Code.ALREADY_EXISTS;
      case UNSUPPORTED, WRONG_STATE -> Code.FAILED_PRECONDITION;
      case RUNTIME_FAILED -> Code.UNKNOWN;
      case TIMED_OUT -> Code.DEADLINE_EXCEEDED;
      case OVERRUN -> Code.RESOURCE_EXHAUSTED;
    };
  }

  static Code code(SandboxException.Reason reason) {
    return switch (reason) {
      case NOT_FOUND -> Code.NOT_FOUND;
      case INVALID -> Code.INVALID_ARGUMENT;
      case CONFLICT -> Code.ALREADY_EXISTS;
      // Not UNIMPLEMENTED, from which clients conclude that the whole call does not exist.
      case UNSUPPORTED, NOT_READY -> Code.FAILED_PRECONDITION;
      case UNAVAILABLE -> Code.UNAVAILABLE;
      case FAILED -> Code.UNKNOWN;
    };
  }

  static Code code(StreamingException.Reason reason) {
    return switch (reason) {
      case INVALID -> Code.INVALID_ARGUMENT;
      case TOO_MANY -> Code.RESOURCE_EXHAUSTED;
      case UNAVAILABLE -> Code.UNAVAILABLE;
    };
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
