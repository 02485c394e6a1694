package io.berth.daemon;

import java.util.Optional;

/// The pod, and perhaps the container, that an operation is about. A pod in the sense of Kubernetes
/// is a name and a uid; the sandboxes made for it have ids. Parts that aren't known are empty.
///
/// @param podId of the sandbox
/// @param podName as in `namespace/name`
/// @param container its name within the pod
record Subject(String podId, String podName, String podUid, String container) {
  static final Subject NONE = new Subject("", "", "", "");

  /// Finds whom an id belongs to while it is known.
  interface Directory {
    Directory EMPTY =
        new Directory() {
          @Override
          public Optional<Subject> sandbox(String idOrPrefix) {
            return Optional.empty();
          }

          @Override
          public Optional<Subject> container(String idOrPrefix) {
            return Optional.empty();
          }
        };

    /// Of a sandbox.
    Optional<Subject> sandbox(String idOrPrefix);

    /// Of a container, with its sandbox.
    Optional<Subject> container(String idOrPrefix);
  }

  boolean isKnown() {
    return !podId.isEmpty() || !podName.isEmpty();
  }

  Subject withPodId(String id) {
    return new Subject(id, podName, podUid, container);
  }

  Subject withContainer(String name) {
    return new Subject(podId, podName, podUid, name);
  }

  /// Whether a person who says `query` means this pod: its name, with its namespace or without, or
  /// the beginning of its id.
  boolean isCalled(String query) {
    return isKnown()
        && (podName.equals(query)
            || podName.substring(podName.indexOf('/') + 1).equals(query)
            || (!podId.isEmpty() && podId.startsWith(query)));
  }

  /// What every record of the pod has in it.
  String key() {
    if (!podUid.isEmpty()) {
      return podUid;
    }
    return podName.isEmpty() ? podId : podName;
  }

  /// The same pod, perhaps in another sandbox.
  boolean isSamePod(Subject other) {
    if (!podUid.isEmpty() && !other.podUid.isEmpty()) {
      return podUid.equals(other.podUid) && podName.equals(other.podName);
    }
    if (podId.isEmpty() || other.podId.isEmpty()) {
      return podName.equals(other.podName);
    }
    return podId.equals(other.podId);
  }
}
