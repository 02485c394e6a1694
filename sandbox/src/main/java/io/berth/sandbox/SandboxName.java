package io.berth.sandbox;

/// What the kubelet calls a sandbox, and the key under which only one sandbox may exist at a time.
///
/// @param name the pod's name
/// @param namespace the pod's Kubernetes namespace
/// @param uid the pod's uid
/// @param attempt counts the sandboxes made for one pod; the kubelet raises it past the highest it
///   sees
public record SandboxName(String name, String namespace, String uid, int attempt) {
  /// The form for messages and log lines.
  @Override
  public String toString() {
    return namespace + "/" + name + " (uid " + uid + ", attempt " + attempt + ")";
  }
}
