package io.berth.daemon;

import io.berth.linux.DebtLedger;
import io.grpc.BindableService;
import java.time.Clock;
import java.util.List;

/// All parts put together, from the bottom up. The one place where constructors meet.
final class Services implements AutoCloseable {
  private final DebtLedger debts;
  private final List<BindableService> grpc;

  private Services(DebtLedger debts, List<BindableService> grpc) {
    this.debts = debts;
    this.grpc = grpc;
  }

  /// Brings the state of the last run in order; when this returns, calls may come.
  static Services start(DaemonConfig config, HostFacts facts, OperationLog operations) {
    var debts = new DebtLedger(config.state().rootDir().resolve("debts"), Clock.systemUTC());
    debts.start();
    return new Services(debts, List.of());
  }

  List<BindableService> grpc() {
    return grpc;
  }

  @Override
  public void close() {
    debts.close();
  }
}
