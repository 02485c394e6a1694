package io.berth.runtime;

import java.util.List;

/**
 * What an administrator lets the pods of one handler do beyond the usual.
 *
 * @param allowedAnnotations annotations of the pod and the container that get into config.json,
 *     where OCI runtimes obey some of them; an entry that ends in {@code *} stands for all that
 *     begin so
 * @param privilegedWithoutHostDevices privileged containers get the usual devices instead of all
 *     the machine's
 */
public record HandlerPolicy(List<String> allowedAnnotations, boolean privilegedWithoutHostDevices) {

  /** As little as possible, which is the default. */
  public static final HandlerPolicy STRICT = new HandlerPolicy(List.of(), false);

  public HandlerPolicy {
    allowedAnnotations = List.copyOf(allowedAnnotations);
  }

  boolean allows(String annotation) {
    for (String allowed : allowedAnnotations) {
      if (allowed.endsWith("*")
          ? annotation.startsWith(allowed.substring(0, allowed.length() - 1))
          : annotation.equals(allowed)) {
        return true;
      }
    }
    return false;
  }
}
