package io.berth.daemon;

import io.berth.linux.Stages;
import io.grpc.Context;
import io.grpc.ForwardingServerCall.SimpleForwardingServerCall;
import io.grpc.ForwardingServerCallListener.SimpleForwardingServerCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// What every call gets, once and here alone: a request id (in the thread's name, so that each log
/// line of the call carries it), a log line, its stages and timing, the mapping of failures to
/// codes, and the interrupt of its thread when the caller leaves or the deadline passes.
final class CallInterceptor implements ServerInterceptor {
  /// In the trailers of a failed call: finds its lines in berthd's log.
  static final Metadata.Key<String> REQUEST_ID =
      Metadata.Key.of("berth-request-id", Metadata.ASCII_STRING_MARSHALLER);

  /// The caller's place in a trace: W3C Trace Context.
  static final Metadata.Key<String> TRACE =
      Metadata.Key.of("traceparent", Metadata.ASCII_STRING_MARSHALLER);

  private static final Logger log = LoggerFactory.getLogger("call");
  private static final long SLOWEST_LOOK = 20; // milliseconds

  private final OperationLog operations;
  private final Set<Interruption> endlessCalls = ConcurrentHashMap.newKeySet();

  CallInterceptor(OperationLog operations) {
    this.operations = operations;
  }

  @Override
  public <Q, R> ServerCall.Listener<Q> interceptCall(
      ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
    MethodDescriptor<Q, R> method = call.getMethodDescriptor();
    String name = String.valueOf(method.getBareMethodName());
    boolean endless = !method.getType().serverSendsOneMessage();
    String trace = headers.get(TRACE);
    var observed =
        new ObservedCall<>(call, name, operations.begin(name, trace == null ? "" : trace, endless));
    if (endless) {
      endlessCalls.add(observed.interruption);
    }
    observed.context.addListener(
        context -> {
          // A call that ended well cancels its context too, without a cause.
          if (context.cancellationCause() != null) {
            observed.interruption.request();
          }
        },
        Runnable::run);
    return new Callbacks<>(next.startCall(observed, headers), observed);
  }

  /// Ends the streams that would never end by themselves; for the stop of the server.
  void interruptStreams() {
    endlessCalls.forEach(Interruption::request);
  }

  private final class ObservedCall<Q, R> extends SimpleForwardingServerCall<Q, R> {
    private final Context context = Context.current();
    private final Interruption interruption = new Interruption();
    private final OperationLog.Running operation;
    private final String method;
    private volatile boolean closed;

    ObservedCall(ServerCall<Q, R> delegate, String method, OperationLog.Running operation) {
      super(delegate);
      this.method = method;
      this.operation = operation;
    }

    /// Streams are held back here while their client doesn't read, so that no adapter has to see to
    /// it. A call's callbacks come one after the other, so onReady can't come while the work blocks
    /// in one of them: it is looked at.
    @Override
    public void sendMessage(R message) {
      operation.answers(message);
      if (!getMethodDescriptor().getType().serverSendsOneMessage()) {
        try {
          for (long millis = 1; !isReady(); millis = Math.min(2 * millis, SLOWEST_LOOK)) {
            if (context.isCancelled()) {
              throw new InterruptedException();
            }
            Thread.sleep(millis);
          }
        } catch (InterruptedException left) {
          Thread.currentThread().interrupt();
          throw new CancellationException("the call ended before all was sent");
        }
      }
      super.sendMessage(message);
    }

    @Override
    public void close(Status status, Metadata trailers) {
      closed = true;
      Status answer = status;
      if (status.getCode() == Status.Code.UNIMPLEMENTED && status.getCause() == null) {
        answer =
            Status.UNIMPLEMENTED.withDescription(
                "this version of Berth does not offer " + method + " yet");
      } else if (status.getCode() == Status.Code.UNKNOWN && status.getCause() != null) {
        // An adapter handed a bare exception to onError instead of throwing it.
        answer = GrpcErrors.status(status.getCause(), context);
      }
      if (!answer.isOk()) {
        trailers.put(REQUEST_ID, operation.requestId());
      }
      finish(answer);
      super.close(answer, trailers);
    }

    void fail(Throwable failure) {
      if (!closed) {
        close(GrpcErrors.status(failure, context), new Metadata());
      } else {
        log.warn("{} failed after it had been answered", method, failure);
      }
    }

    void finish(Status status) {
      endlessCalls.remove(interruption);
      Operation done = operation.finish(status);
      if (done != null) {
        report(done, status.getCause());
      }
    }
  }

  private static void report(Operation done, @Nullable Throwable cause) {
    if (done.code() == Status.Code.OK && Operation.isReading(done.method())) {
      log.debug("{}", done.describe());
      return;
    }
    switch (done.code()) {
      case OK, UNIMPLEMENTED -> log.info("{}", done.describe());
      // Our own mistake: somebody will have to read the stack.
      case INTERNAL -> log.error("{}", done.describe(), cause);
      case null, default -> {
        log.warn("{}", done.describe());
        log.debug("cause of the line above", cause);
      }
    }
  }

  /// gRPC runs the callbacks of one call one after the other, the work itself within onHalfClose,
  /// or onMessage when the client streams.
  private static final class Callbacks<Q, R> extends SimpleForwardingServerCallListener<Q> {
    private final CallInterceptor.ObservedCall<Q, R> call;

    Callbacks(ServerCall.Listener<Q> delegate, CallInterceptor.ObservedCall<Q, R> call) {
      super(delegate);
      this.call = call;
    }

    @Override
    public void onMessage(Q message) {
      call.operation.asks(message);
      run(() -> super.onMessage(message));
    }

    @Override
    public void onHalfClose() {
      run(super::onHalfClose);
    }

    @Override
    public void onReady() {
      run(super::onReady);
    }

    @Override
    public void onCancel() {
      named(() -> {
        try {
          super.onCancel();
        } finally {
          call.finish(GrpcErrors.abandoned(call.context).withDescription("the caller has left"));
        }
      });
    }

    private void run(Runnable callback) {
      if (call.closed) {
        return;
      }
      named(() -> {
        call.interruption.enter();
        try {
          if (call.context.isCancelled()) {
            throw new InterruptedException();
          }
          Stages.record(
              call.operation.stages(),
              () -> {
                callback.run();
                return call;
              });
        } catch (Throwable failure) {
          call.fail(failure);
        } finally {
          call.interruption.leave();
        }
      });
    }

    private void named(Runnable body) {
      Thread thread = Thread.currentThread();
      String before = thread.getName();
      thread.setName(call.method + "-" + call.operation.requestId());
      try {
        body.run();
      } finally {
        thread.setName(before);
      }
    }
  }
}
