package io.berth.sandbox;

/// The first process of a pod whose containers share one PID namespace: it owns the namespace and
/// reaps orphans. Pods with any other PID mode have no process of their own.
public interface PodInit {
  /// Starts the process inside the sandbox's namespaces. A start that fails may leave something
  /// behind: [#stop] is called afterwards.
  ///
  /// @return its process id on the machine
  int start(Sandbox sandbox) throws InterruptedException;

  /// Kills the process and removes what it needed. Succeeds when there is none, so that it can be
  /// repeated, and asks for no record of the sandbox, which may be gone.
  void stop(SandboxId id) throws InterruptedException;
}
