package io.berth.cni;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * One sandbox's place in the pod network; ADD, CHECK and DEL of it get the same values.
 *
 * @param sandboxId letters, digits, {@code _ . -}, the first a letter or digit: CNI_CONTAINERID
 * @param netns path of the pinned network namespace; null when it is gone (after a reboot), which
 *     DEL allows
 * @param podName with namespace and uid, handed to plugins as CNI_ARGS
 */
public record Attachment(
    String sandboxId,
    @Nullable Path netns,
    String podName,
    String podNamespace,
    String podUid,
    CapabilityArgs capabilities) {

  private static final Pattern ID = Pattern.compile("[a-zA-Z0-9][a-zA-Z0-9_.\\-]*");

  /**
   * @throws CniException INVALID_ARGUMENT for an id that CNI doesn't allow, or a name that would
   *     forge another argument
   */
  public Attachment {
    if (!ID.matcher(sandboxId).matches()) {
      throw new CniException(
          CniException.Reason.INVALID_ARGUMENT,
          "attach sandbox \"" + sandboxId + "\": CNI ids consist of letters, digits, _ . and -",
          null);
    }
    for (String value : new String[] {podName, podNamespace, podUid}) {
      if (value.indexOf(';') >= 0 || value.indexOf('\0') >= 0) {
        throw new CniException(
            CniException.Reason.INVALID_ARGUMENT,
            "attach sandbox "
                + sandboxId
                + ": \""
                + value
                + "\" has a ; which separates CNI arguments; name the pod without it",
            null);
      }
    }
  }

  /** The arguments Kubernetes runtimes pass, in the order plugins have come to see them. */
  Map<String, String> cniArgs() {
    Map<String, String> args = new LinkedHashMap<>();
    args.put("IgnoreUnknown", "1");
    args.put("K8S_POD_NAMESPACE", podNamespace);
    args.put("K8S_POD_NAME", podName);
    args.put("K8S_POD_INFRA_CONTAINER_ID", sandboxId);
    args.put("K8S_POD_UID", podUid);
    return args;
  }
}
