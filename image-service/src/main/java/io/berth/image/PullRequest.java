package io.berth.image;

import io.berth.oci.Platform;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A wish for an image. Equal wishes at the same time share one pull, hence the credentials and the
 * annotations belong to it.
 *
 * @param image a name as a pod gives it
 * @param runtimeHandler "" for the default
 * @param namespace of the pod it is for, which may have a trust policy of its own; may be empty
 * @param platform null for this machine's
 */
public record PullRequest(
    String image,
    RegistryCredentials credentials,
    String runtimeHandler,
    String namespace,
    Map<String, String> annotations,
    @Nullable Platform platform) {

  public PullRequest {
    annotations = Map.copyOf(annotations);
  }

  /** For this machine. */
  public PullRequest(
      String image,
      RegistryCredentials credentials,
      String runtimeHandler,
      String namespace,
      Map<String, String> annotations) {
    this(image, credentials, runtimeHandler, namespace, annotations, null);
  }

  public PullRequest(String image) {
    this(image, RegistryCredentials.NONE, "", "", Map.of());
  }
}
