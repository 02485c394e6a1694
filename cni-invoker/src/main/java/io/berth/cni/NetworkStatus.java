package io.berth.cni;

import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Whether pods can be connected right now: the CRI condition NetworkReady.
 *
 * @param message empty when ready; otherwise what is wrong and what to do about it
 * @param network name of the network in use, whether it is ready or not; null when there is none
 * @param file the file that defines it
 * @param skipped one sentence for each file that was passed over because it is broken
 */
public record NetworkStatus(
    boolean ready,
    String message,
    @Nullable String network,
    @Nullable Path file,
    List<String> skipped) {
  public NetworkStatus {
    skipped = List.copyOf(skipped);
  }
}
