package io.berth.runtime;

import java.nio.file.Path;

/**
 * Every path of a container. What the kernel forgets at a boot lies under the state folder, the
 * records under the root folder.
 *
 * <pre>
 * stateDir/containers/ID/            the bundle
 *                       config.json
 *                       rootfs       the mounted snapshot
 *                       pidfile, conmon.pid, attach, ctl, oom
 *                       exec-PID-N.json, exec-PID-N.pid, exec-PID-N.tty
 * stateDir/exits/ID                  conmon's word on how it ended
 * stateDir/runtimes/HANDLER/         the OCI runtime's own state
 * rootDir/containers/ID.json
 * </pre>
 */
public final class ContainerLayout {
  private final Path stateDir;
  private final Path rootDir;

  public ContainerLayout(Path stateDir, Path rootDir) {
    this.stateDir = stateDir;
    this.rootDir = rootDir;
  }

  Path records() {
    return rootDir.resolve("containers");
  }

  Path bundles() {
    return stateDir.resolve("containers");
  }

  Path bundle(ContainerId id) {
    return bundles().resolve(id.value());
  }

  Path rootfs(ContainerId id) {
    return bundle(id).resolve("rootfs");
  }

  Path spec(ContainerId id) {
    return bundle(id).resolve("config.json");
  }

  Path pidFile(ContainerId id) {
    return bundle(id).resolve("pidfile");
  }

  Path monitorPidFile(ContainerId id) {
    return bundle(id).resolve("conmon.pid");
  }

  /** The FIFO in which conmon takes orders. */
  Path control(ContainerId id) {
    return bundle(id).resolve("ctl");
  }

  /** Made by conmon when the kernel's OOM killer struck. */
  Path oomMark(ContainerId id) {
    return bundle(id).resolve("oom");
  }

  Path exits() {
    return stateDir.resolve("exits");
  }

  Path exitFile(ContainerId id) {
    return exits().resolve(id.value());
  }

  /** The folder of one OCI runtime's own state, which outlives the daemon but not the boot. */
  public Path runtimeRoot(String handler) {
    return stateDir.resolve("runtimes").resolve(handler);
  }
}
