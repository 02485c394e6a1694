package io.berth.runtime;

import java.nio.file.Path;

/**
 * Where a container's mounts come from when it isn't simply a path of the machine. What is made for
 * that is undone with the container, or with its pod.
 */
interface VolumeSources {
  /**
   * The folder of an image that is mounted.
   *
   * @throws ContainerException with the token {@code ImageVolumeMountFailed}
   */
  Path image(ContainerConfig.Mount mount) throws InterruptedException;

  /**
   * The same files, belonging to other ids.
   *
   * @param source a real path
   * @throws ContainerException UNSUPPORTED where the file system can't do that
   */
  Path withMappedIds(Path source, ContainerConfig.Mount mount) throws InterruptedException;

  /** The same folder and all that is mounted beneath, unwritable by whatever way. */
  Path readOnly(Path source);

  /** Gives a volume of the machine an SELinux label that containers may use. */
  void relabel(Path source);

  /** As {@link #relabel}, of a file or folder of the pod alone, not of what lies in it. */
  void relabelOne(Path source);

  /**
   * A writable folder of the container's own, filled with what its image has at {@code path}.
   *
   * @param path absolute, in the container
   * @throws ContainerException INVALID when the image has something else than a folder there
   */
  Path declared(String path) throws InterruptedException;
}
