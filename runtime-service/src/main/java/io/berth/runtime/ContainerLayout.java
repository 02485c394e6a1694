package io.berth.runtime;

import io.berth.linux.UserNamespace;
import io.berth.sandbox.SandboxId;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;

/**
 * Every path of a container. What the kernel forgets at a boot lies under the state folder, the
 * records under the root folder.
 *
 * <pre>
 * stateDir/containers/ID/            the bundle
 *                       config.json
 *                       rootfs       the mounted snapshot
 *                       mounts/N     what had to be mounted to be a source of its mounts
 *                       pidfile, conmon.pid, attach, ctl, oom
 *                       exec-PID-N.json, exec-PID-N.pid, exec-PID-N.tty
 * stateDir/image-volumes/POD/IMAGE/  {root,volume.json}, for all containers of a pod
 * stateDir/user-trial/               for a moment, to try what the kernel can do
 * stateDir/exits/ID                  conmon's word on how it ended
 * stateDir/runtimes/HANDLER/         the OCI runtime's own state
 * stateDir/copies/containers/ID.json
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

  /** In memory, as nothing of a container that would need it outlives the boot. */
  Path recordCopies() {
    return stateDir.resolve("copies").resolve("containers");
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

  /**
   * Lets root of a user namespace pass to its container's root, which it prepares itself; it may
   * look at nothing on the way, and no other user may pass.
   */
  void letIn(ContainerId id, UserNamespace users) throws IOException {
    Files.setPosixFilePermissions(bundles(), PosixFilePermissions.fromString("rwx--x--x"));
    Files.setAttribute(bundle(id), "unix:gid", users.gid(0));
    Files.setPosixFilePermissions(bundle(id), PosixFilePermissions.fromString("rwx--x---"));
  }

  Path mounts(ContainerId id) {
    return bundle(id).resolve("mounts");
  }

  Path imageVolumes() {
    return stateDir.resolve("image-volumes");
  }

  Path imageVolumes(SandboxId pod) {
    return imageVolumes().resolve(pod.value());
  }

  /**
   * One image in one pod.
   *
   * @param image the digits of its id
   */
  Path imageVolume(SandboxId pod, String image) {
    return imageVolumes(pod).resolve(image);
  }

  Path userTrial() {
    return stateDir.resolve("user-trial");
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
