package io.berth.runtime;

import io.berth.linux.ErrnoException;
import io.berth.linux.Mounts;
import io.berth.linux.Namespaces;
import io.berth.linux.PrivateFolder;
import io.berth.linux.UserNamespace;
import io.berth.linux.UserNamespace.Range;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.SandboxConfig;
import io.berth.snapshot.Snapshotter;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Whether pods can have users of their own here: the kernel must let berthd make user namespaces,
 * and the layers' file system must show its files under other ids. Tried once at the start, in the
 * background. Where it can't be had, a pod that asks for it is refused: running it as the machine's
 * users, or copying its image with other owners, would be neither what was asked for nor noticed.
 */
final class UserNamespaceSupport {
  private static final Logger log = LoggerFactory.getLogger(UserNamespaceSupport.class);
  private static final List<Range> ANY = List.of(new Range(0, 100_000, 65_536));

  private final ContainerLayout layout;
  private final Snapshotter snapshotter;
  private final FutureTask<String> obstacle = new FutureTask<>(this::tryOut);

  UserNamespaceSupport(ContainerLayout layout, Snapshotter snapshotter) {
    this.layout = layout;
    this.snapshotter = snapshotter;
  }

  /** Begins to try, and doesn't wait for it. */
  void begin() {
    Thread.ofVirtual().name("user namespaces").start(obstacle);
  }

  /**
   * What stands in the way of {@link UserNamespace}s; empty when nothing does. Waits for the trial.
   */
  String obstacle() throws InterruptedException {
    obstacle.run(); // once, whoever comes first
    try {
      return obstacle.get();
    } catch (ExecutionException e) {
      throw new IllegalStateException(e.getCause());
    }
  }

  private String tryOut() throws InterruptedException {
    String why;
    UserNamespace user = new UserNamespace(layout.userTrial().resolve("user"), ANY, ANY);
    try {
      Path folder = PrivateFolder.make(layout.userTrial());
      Namespaces.unpin(user.pin()); // of a trial that was cut short
      Namespaces.createOwned(Set.of(), user, folder, () -> {});
      try {
        why =
            !Mounts.canChange() || !snapshotter.mapsIds(user)
                ? "the kernel and the file system of state.root_dir can't show files under mapped"
                    + " ids; that takes Linux 5.19 and, for example, ext4, xfs or btrfs"
                : "";
      } finally {
        Namespaces.unpin(user.pin());
      }
    } catch (ErrnoException | UncheckedIOException e) {
      why = String.valueOf(e.getMessage());
    }
    if (!why.isEmpty()) {
      log.warn("pods with user namespaces are refused: {}", why);
    }
    return why;
  }

  /**
   * Refuses a pod that asks for what isn't to be had.
   *
   * @throws ContainerException UNSUPPORTED
   */
  void require(SandboxConfig config, String handler, RuntimeFeatures features)
      throws InterruptedException {
    if (!config.namespaces().ownUser()) {
      return;
    }
    String why = obstacle();
    if (why.isEmpty() && !features.userNamespaces()) {
      why =
          "the program of runtime handler \""
              + handler
              + "\" has no user namespaces, or none that are safe (crun before 1.24 gives the machine's"
              + " /dev/null to the pod's root)";
    }
    if (!why.isEmpty()) {
      throw new ContainerException(
          Reason.UNSUPPORTED,
          "run sandbox "
              + config.name()
              + ": it asks for a user namespace: "
              + why
              + "; set hostUsers: true");
    }
  }
}
