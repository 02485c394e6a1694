package io.berth.image;

import java.util.Map;

/**
 * A wish for an image. Equal wishes at the same time share one pull, hence the credentials and the
 * annotations belong to it.
 *
 * @param image a name as a pod gives it
 * @param runtimeHandler "" for the default
 * @param namespace of the pod it is for, which may have a trust policy of its own; may be empty
 */
public record PullRequest(
    String image,
    RegistryCredentials credentials,
    String runtimeHandler,
    String namespace,
    Map<String, String> annotations) {

  public PullRequest {
    annotations = Map.copyOf(annotations);
  }

  public PullRequest(String image) {
    this(image, RegistryCredentials.NONE, "", "", Map.of());
  }
}
