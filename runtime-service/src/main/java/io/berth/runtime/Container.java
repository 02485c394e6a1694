package io.berth.runtime;

import io.berth.linux.ProcessRef;
import io.berth.oci.Digest;
import io.berth.sandbox.LinuxResources;
import io.berth.sandbox.SandboxId;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A container as it stood at one moment, and the record that is kept of it. Times are nanoseconds
 * since 1970, 0 when not yet.
 *
 * @param handler the configured name of the OCI runtime that runs it
 * @param imageId the image's id, which stays when the image is removed
 * @param imageRef a repo digest of the image, else its id
 * @param imageName what the status calls the image
 * @param bootId the boot of the machine in which it was made
 * @param cgroupsPath as the OCI runtime got it
 * @param cgroup the container's cgroup from the root of a hierarchy
 * @param logPath absolute; empty when nothing is logged
 * @param stopSignal the effective one, as in {@code SIGTERM}
 * @param user the effective user
 * @param init the container's first process, once the runtime has made it
 * @param monitor its conmon
 * @param exit how it ended
 * @param update what became of its limits since it was made
 * @param volumeImages ids of the images that it has as volumes, by the names of the request
 */
public record Container(
    ContainerId id,
    SandboxId sandboxId,
    ContainerConfig config,
    String handler,
    Digest imageId,
    String imageRef,
    String imageName,
    ContainerState state,
    String bootId,
    String cgroupsPath,
    String cgroup,
    String logPath,
    String stopSignal,
    @Nullable User user,
    long createdAt,
    long startedAt,
    @Nullable ProcessRef init,
    @Nullable ProcessRef monitor,
    @Nullable Exit exit,
    @Nullable Update update,
    Map<String, String> volumeImages) {

  @SuppressWarnings("ConstantValue") // records of versions before lack it
  public Container {
    volumeImages = volumeImages == null ? Map.of() : Map.copyOf(volumeImages);
  }

  /** The user that the program runs as, resolved in the image. */
  public record User(long uid, long gid, List<Long> groups) {}

  /**
   * How a container ended.
   *
   * @param code 128 + signal when a signal ended it; 255 when nobody can know it any more
   * @param reason {@code Completed, Error, OOMKilled, StartError} or {@code Unknown}
   * @param finishedAt nanoseconds since 1970
   */
  public record Exit(int code, String reason, String message, long finishedAt) {}

  /**
   * Limits that were changed since.
   *
   * @param resources those in force; absent: as configured
   * @param before while a change is under way: what the cgroup's files said, by their names
   */
  public record Update(@Nullable LinuxResources resources, Map<String, String> before) {
    public Update {
      before = Collections.unmodifiableMap(new LinkedHashMap<>(before));
    }
  }

  /** The limits in force. */
  public @Nullable LinuxResources resources() {
    LinuxResources changed = updated();
    return changed == null ? config.resources() : changed;
  }

  /** The limits of the last update; absent before the first. */
  @Nullable LinuxResources updated() {
    return update == null ? null : update.resources();
  }

  /** Everything that changes in a container's life. */
  private Container with(
      ContainerState newState,
      @Nullable User newUser,
      long newStart,
      @Nullable ProcessRef newInit,
      @Nullable ProcessRef newMonitor,
      @Nullable Exit newExit,
      @Nullable Update newUpdate,
      Map<String, String> newVolumes) {
    return new Container(
        id,
        sandboxId,
        config,
        handler,
        imageId,
        imageRef,
        imageName,
        newState,
        bootId,
        cgroupsPath,
        cgroup,
        logPath,
        stopSignal,
        newUser,
        createdAt,
        newStart,
        newInit,
        newMonitor,
        newExit,
        newUpdate,
        newVolumes);
  }

  Container withUpdate(Update newUpdate) {
    return with(state, user, startedAt, init, monitor, exit, newUpdate, volumeImages);
  }

  Container withState(ContainerState next) {
    return with(next, user, startedAt, init, monitor, exit, update, volumeImages);
  }

  Container resolved(User effective, Map<String, String> volumes) {
    return with(state, effective, startedAt, init, monitor, exit, update, volumes);
  }

  Container created(ProcessRef newInit, @Nullable ProcessRef newMonitor) {
    return with(
        ContainerState.CREATED, user, startedAt, newInit, newMonitor, exit, update, volumeImages);
  }

  Container started(long at) {
    return with(ContainerState.RUNNING, user, at, init, monitor, exit, update, volumeImages);
  }

  /**
   * CRI wants a start time even of a container that never began, and an end that isn't before it.
   */
  Container exited(Exit how) {
    long began = startedAt == 0 ? how.finishedAt() : startedAt;
    Exit ordered =
        new Exit(how.code(), how.reason(), how.message(), Math.max(how.finishedAt(), began));
    return with(ContainerState.EXITED, user, began, init, monitor, ordered, update, volumeImages);
  }

  ContainerName name() {
    return new ContainerName(sandboxId, config.name(), config.attempt());
  }
}
