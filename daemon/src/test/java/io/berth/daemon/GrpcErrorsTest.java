package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.sandbox.SandboxException;
import io.grpc.Context;
import io.grpc.Status;
import java.util.concurrent.CancellationException;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class GrpcErrorsTest {
  @Test
  void aModulesReasonDecidesTheCodeAndItsMessageIsKeptWhole() {
    Status status =
        GrpcErrors.status(
            new SandboxException(SandboxException.Reason.NOT_FOUND, "no sandbox abc"),
            Context.ROOT);
    assertThat(status.getCode()).isEqualTo(Status.Code.NOT_FOUND);
    assertThat(status.getDescription()).isEqualTo("no sandbox abc");
  }

  @Test
  void nothingBelowTheObjectOfACallIsNotFound() {
    for (var reason : io.berth.snapshot.SnapshotException.Reason.values()) {
      assertThat(GrpcErrors.code(reason)).isNotEqualTo(Status.Code.NOT_FOUND);
    }
    for (var reason : io.berth.cni.CniException.Reason.values()) {
      assertThat(GrpcErrors.code(reason)).isNotEqualTo(Status.Code.NOT_FOUND);
    }
  }

  @Test
  void aStatusPassesUnchanged() {
    Status status =
        GrpcErrors.status(
            Status.RESOURCE_EXHAUSTED.withDescription("1000 tokens").asRuntimeException(),
            Context.ROOT);
    assertThat(status.getCode()).isEqualTo(Status.Code.RESOURCE_EXHAUSTED);
    assertThat(status.getDescription()).isEqualTo("1000 tokens");
  }

  @Test
  void anInterruptionThatTheCallerDidNotCauseMeansTheDaemonStops() {
    assertThat(GrpcErrors.status(new CancellationException(), Context.ROOT).getCode())
        .isEqualTo(Status.Code.UNAVAILABLE);
  }

  @Test
  void anExpiredDeadlineIsNotACancellationWhateverTheWorkThrew() {
    try (var timer = Executors.newSingleThreadScheduledExecutor()) {
      Context.CancellableContext late =
          Context.ROOT.withDeadlineAfter(0, TimeUnit.NANOSECONDS, timer);
      late.cancel(null);
      assertThat(GrpcErrors.status(new IllegalStateException("killed"), late).getCode())
          .isEqualTo(Status.Code.DEADLINE_EXCEEDED);
    }
    Context.CancellableContext left = Context.ROOT.withCancellation();
    left.cancel(null);
    assertThat(GrpcErrors.status(new IllegalStateException("killed"), left).getCode())
        .isEqualTo(Status.Code.CANCELLED);
  }
}
