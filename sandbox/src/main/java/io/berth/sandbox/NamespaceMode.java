package io.berth.sandbox;

/// How far a kernel namespace is shared, as CRI's `NamespaceMode`.
public enum NamespaceMode {
  /// One namespace for all containers of the pod.
  POD,
  /// One namespace for each container.
  CONTAINER,
  /// The namespace of the machine.
  NODE,
  /// The namespace of another container; only containers may ask for it, and only for PIDs.
  TARGET
}
