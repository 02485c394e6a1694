package io.berth.runtime;

import io.berth.linux.ProcessRef;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.NamespaceMode;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * The container whose processes another one joins, as debugging containers do: CRI's PID mode
 * TARGET.
 */
final class PidTarget {
  private PidTarget() {}

  /**
   * The PID namespace to join; absent in the other modes. As the target may end at any time, to be
   * asked when the container is made and again before it starts: a target that still lives then has
   * lived all the time, so that its number meant nobody else.
   *
   * @param refusal the reason when the target doesn't run, or runs in another pod
   */
  static @Nullable Path namespace(
      ContainerStore store, Container container, String operation, Reason refusal) {
    var modes = container.config().security().namespaces();
    if (modes.pid() != NamespaceMode.TARGET) {
      return null;
    }
    Container target = store.get(modes.targetId());
    ProcessRef init = target.init();
    if (!target.sandboxId().equals(container.sandboxId())
        || target.state() != ContainerState.RUNNING
        || init == null
        || !init.isAlive()) {
      throw new ContainerException(
          refusal,
          operation
              + " container "
              + container.name()
              + ": its target container "
              + modes.targetId()
              + " must be running in the same sandbox");
    }
    return Path.of("/proc", Integer.toString(init.pid()), "ns", "pid");
  }
}
