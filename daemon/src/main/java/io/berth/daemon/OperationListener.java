package io.berth.daemon;

/// Is told of operations as they end, and of those that change something as they begin. Called on
/// the operation's own thread: hands on whatever takes time.
interface OperationListener {
  default void began(Operation operation) {}

  void ended(Operation operation);
}
