package io.berth.runtime;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import io.berth.linux.ErrnoException;
import io.berth.linux.MessagePipe;
import io.berth.linux.ProcessRef;
import io.berth.linux.Stages;
import io.berth.linux.Subprocess;
import io.berth.oci.Json;
import io.berth.runtime.ContainerException.Reason;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Starts conmon, the small program that is the parent of a container: it calls the OCI runtime,
 * writes the log, keeps the attach socket and records the exit code, all while the daemon may come
 * and go. One for each container.
 *
 * <p>Speaks the command line of conmon 2.1.6 and later.
 */
public final class Conmon {
  private static final Logger LOG = LoggerFactory.getLogger(Conmon.class);
  private static final int SYNC_PIPE = 3;
  private static final Set<PosixFilePermission> ALL_MAY_WRITE =
      PosixFilePermissions.fromString("rw-rw-rw-");

  private final Supplier<Optional<Path>> program;
  private final ContainerLayout layout;

  /** Looks the program up at each use, as it may be installed while the daemon runs. */
  public Conmon(Supplier<Optional<Path>> program, ContainerLayout layout) {
    this.program = program;
    this.layout = layout;
  }

  /**
   * What conmon has made.
   *
   * @param init the container's first process, waiting to be started
   */
  record Created(ProcessRef init, ProcessRef monitor) {}

  /**
   * How a container's streams are connected.
   *
   * @param logPath empty: nothing is logged
   */
  record Streams(String logPath, boolean stdin, boolean stdinOnce, boolean tty) {}

  /**
   * Creates the container of a bundle, by the OCI runtime's {@code create}.
   *
   * @throws ContainerException RUNTIME_FAILED with the runtime's words
   */
  Created create(ContainerId id, String name, OciRuntime runtime, Streams streams)
      throws InterruptedException {
    Path bundle = layout.bundle(id);
    List<String> argv = new ArrayList<>();
    argv.add(binary().toString());
    argv.addAll(List.of("-b", bundle.toString(), "-c", id.value(), "-u", id.value(), "-n", name));
    argv.addAll(List.of("-r", runtime.binary().toString(), "-p", layout.pidFile(id).toString()));
    argv.addAll(List.of("-P", layout.monitorPidFile(id).toString()));
    argv.addAll(
        List.of("-l", streams.logPath().isEmpty() ? "none" : "k8s-file:" + streams.logPath()));
    argv.addAll(
        List.of("--exit-dir", layout.exits().toString(), "--persist-dir", bundle.toString()));
    // The attach socket in the bundle itself. Without this conmon 2.1.6 ends silently where
    // /var/run/crio is missing.
    argv.add("--full-attach");
    argv.addAll(List.of("--log-level", "error"));
    for (String argument : runtime.globalArguments()) {
      argv.add("--runtime-arg=" + argument);
    }
    if (streams.tty()) {
      argv.add("-t");
    }
    if (streams.stdin()) {
      argv.add("-i");
      if (!streams.stdinOnce()) {
        argv.add("--leave-stdin-open");
      }
    }
    Map<String, String> environment = new HashMap<>(runtime.environment());
    environment.put("_OCI_SYNCPIPE", Integer.toString(SYNC_PIPE));

    String operation = "create container " + id + " (" + name + ")";
    try (MessagePipe sync = MessagePipe.open()) {
      // The first process ends once the monitor, its child, is on its own; then the sync pipe
      // speaks.
      Subprocess.Result forked =
          Stages.time(
              "conmon",
              () -> {
                Subprocess starter =
                    Subprocess.command(argv)
                        .environment(environment)
                        .directory(bundle) // 2.1.6 puts its oom mark into the working directory
                        .pass(sync.writeEnd(), SYNC_PIPE)
                        .start();
                sync.handOver();
                return starter.await();
              });
      if (!forked.ok()) {
        throw died(runtime, operation, forked);
      }
      int pid =
          Stages.time(
              "runtime create",
              runtime.handler(),
              () -> {
                readPid(layout.monitorPidFile(id))
                    .ifPresent(monitor -> Stages.waitsFor("conmon", monitor));
                String line = sync.await();
                if (line == null) {
                  throw died(runtime, operation, forked);
                }
                return firstProcess(runtime, operation, line);
              });
      ProcessRef monitor =
          readPid(layout.monitorPidFile(id))
              .flatMap(ProcessRef::of)
              .orElseThrow(() -> runtime.failed(operation, "nothing, and conmon is gone already"));
      ProcessRef init =
          ProcessRef.of(pid)
              .orElseThrow(() ->
                  runtime.failed(
                      operation, "nothing, and the container's process is gone already"));
      if (!streams.tty()) {
        openToAll(init, 1);
        openToAll(init, 2);
      }
      return new Created(init, monitor);
    } catch (ErrnoException e) {
      throw new ContainerException(
          Reason.RUNTIME_FAILED,
          operation
              + ": conmon can't be started: "
              + e.getMessage()
              + "; install it or correct containers.conmon",
          e);
    }
  }

  private static ContainerException died(
      OciRuntime runtime, String operation, Subprocess.Result forked) {
    return runtime.failed(
        operation, forked.err().isBlank() ? "nothing, and conmon ended" : forked.err());
  }

  /** Takes the container's first process from what conmon said once the runtime had ended. */
  private static int firstProcess(OciRuntime runtime, String operation, String said) {
    try {
      JsonNode answer = Json.MAPPER.readTree(said);
      int pid = answer.path("pid").asInt(-1);
      if (pid <= 0) {
        throw runtime.failed(operation, answer.path("message").asText(""));
      }
      return pid;
    } catch (JsonProcessingException e) {
      throw new ContainerException(
          Reason.RUNTIME_FAILED,
          operation + ": conmon answered with something else than JSON: " + e.getMessage(),
          e);
    }
  }

  /**
   * Lets every user of the container open its output again, as /dev/stdout: programs begin as root,
   * give that up and then open their log. The OCI runtimes give the pipes to the user that begins,
   * and conmon before 2.1.8 lets nobody else write.
   */
  private static void openToAll(ProcessRef init, int fd) {
    Path pipe = Path.of("/proc", Integer.toString(init.pid()), "fd", Integer.toString(fd));
    try {
      if (Files.readSymbolicLink(pipe).toString().startsWith("pipe:")) {
        Files.setPosixFilePermissions(pipe, ALL_MAY_WRITE);
      }
    } catch (IOException e) {
      LOG.debug("{} can't be opened to all users of the container", pipe, e);
    }
  }

  boolean isInstalled() {
    return program.get().isPresent();
  }

  /**
   * The program's path.
   *
   * @throws ContainerException UNSUPPORTED if it isn't installed
   */
  Path binary() {
    return program
        .get()
        .orElseThrow(() ->
            new ContainerException(
                Reason.UNSUPPORTED,
                "start a container's monitor: conmon is missing or can't be executed; install it or correct"
                    + " containers.conmon"));
  }

  /** The number in a pid file; empty while there is none. */
  static Optional<Integer> readPid(Path file) {
    try {
      String text = Files.readString(file).strip();
      return text.isEmpty() ? Optional.empty() : Optional.of(Integer.parseInt(text));
    } catch (IOException | NumberFormatException e) {
      return Optional.empty();
    }
  }
}
