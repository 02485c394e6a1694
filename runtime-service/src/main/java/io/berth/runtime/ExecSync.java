package io.berth.runtime;

import io.berth.linux.Cgroups;
import io.berth.linux.ProcessRef;
import io.berth.linux.Stages;
import io.berth.linux.Subprocess;
import io.berth.oci.Json;
import io.berth.oci.RuntimeSpec;
import io.berth.oci.RuntimeSpec.ContainerProcess;
import io.berth.runtime.ContainerException.Reason;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Runs a command in a container and returns what it printed. No conmon: the daemon itself reads the
 * pipes.
 */
public final class ExecSync {
  /** So that the answer fits into one message of 16 MiB, with what surrounds the streams. */
  private static final int MESSAGE_LIMIT = (16 << 20) - (64 << 10);

  private static final int SIGKILL = 9;
  private static final Duration FOR_EVER = Duration.ofDays(10_000);
  private static final Duration AFTER_KILL = Duration.ofSeconds(2);

  private final ContainerLayout layout;
  private final int outputLimit;
  private final ContainerStore store;
  private final RuntimeHandlers handlers;
  private final Cgroups cgroups;
  private final AtomicLong counter = new AtomicLong();

  ExecSync(
      RuntimeSettings settings, ContainerStore store, RuntimeHandlers handlers, Cgroups cgroups) {
    this.layout = settings.layout();
    this.outputLimit = Math.min(settings.execOutputLimit(), MESSAGE_LIMIT);
    this.store = store;
    this.handlers = handlers;
    this.cgroups = cgroups;
  }

  /** What the command did; the streams are cut so that both together stay within the limit. */
  @SuppressWarnings("ArrayRecordComponent") // raw bytes; never compared
  record Output(int exitCode, byte[] stdout, byte[] stderr) {}

  /**
   * Runs the command as the container's own user, with its environment and limits.
   *
   * @param timeout zero: none
   * @throws ContainerException NOT_FOUND, INVALID, WRONG_STATE; TIMED_OUT after the command and all
   *     it started were killed; RUNTIME_FAILED when it could not begin
   */
  Output run(String idOrPrefix, List<String> command, Duration timeout)
      throws InterruptedException {
    Container container = store.get(idOrPrefix);
    ContainerId id = container.id();
    if (command.isEmpty()) {
      throw new ContainerException(
          Reason.INVALID, "execute in container " + id + ": the command is empty; give a program");
    }
    if (container.state() != ContainerState.RUNNING) {
      throw new ContainerException(
          Reason.WRONG_STATE,
          "execute in container "
              + id
              + ": it is "
              + container.state()
              + "; only a running container can be entered");
    }
    OciRuntime runtime = handlers.get(container.handler());
    // With the daemon's number: an exec that an earlier daemon has left may still write its files.
    String name = "exec-" + ProcessHandle.current().pid() + "-" + counter.incrementAndGet();
    Path spec = layout.bundle(id).resolve(name + ".json");
    Path pidFile = layout.bundle(id).resolve(name + ".pid");
    try {
      Files.write(spec, Json.write(process(container, command)));
      return Stages.time(
          "runtime exec", () -> execute(container, runtime, command, timeout, spec, pidFile));
    } catch (IOException e) {
      throw new UncheckedIOException("execute in container " + id + ": " + e.getMessage(), e);
    } finally {
      delete(spec);
      delete(pidFile);
    }
  }

  private Output execute(
      Container container,
      OciRuntime runtime,
      List<String> command,
      Duration timeout,
      Path spec,
      Path pidFile)
      throws InterruptedException {
    Subprocess process = runtime.exec(container.id(), spec, pidFile, outputLimit);
    Subprocess.Result result;
    try {
      Optional<Subprocess.Result> ended = process.poll(timeout.isZero() ? FOR_EVER : timeout);
      if (ended.isEmpty()) {
        end(container, process, pidFile);
        throw new ContainerException(
            Reason.TIMED_OUT,
            "execute "
                + command.getFirst()
                + " in container "
                + container.id()
                + ": command timed out after "
                + timeout.toSeconds()
                + " s and was killed with all it had started");
      }
      result = ended.get();
    } catch (InterruptedException e) {
      end(container, process, pidFile);
      throw e;
    }
    // The runtime writes the pid file when the program has begun: without it the exit code is the
    // runtime's own.
    if (!result.ok() && Conmon.readPid(pidFile).isEmpty()) {
      throw runtime.failed(
          "execute " + command.getFirst() + " in container " + container.id(), result.err());
    }
    byte[] err = result.stderr();
    int room = Math.max(0, outputLimit - result.stdout().length);
    return new Output(
        result.exitCode(),
        result.stdout(),
        err.length > room ? java.util.Arrays.copyOf(err, room) : err);
  }

  /**
   * Kills the command's tree first and lets the runtime's own process, its parent, see that: killed
   * together they would leave a zombie to the container's first process, which seldom reaps.
   */
  private void end(Container container, Subprocess process, Path pidFile)
      throws InterruptedException {
    boolean interrupted = Thread.interrupted();
    try {
      killTree(container, pidFile);
      if (process.poll(AFTER_KILL).isEmpty()) {
        process.kill(SIGKILL);
        killTree(container, pidFile);
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** The container's own process with another command. */
  private ContainerProcess process(Container container, List<String> command) throws IOException {
    RuntimeSpec spec =
        Json.read(
            Files.readAllBytes(layout.spec(container.id())), RuntimeSpec.class, "config.json");
    ContainerProcess own = spec.process();
    if (own == null) {
      throw new IllegalStateException(
          "container " + container.id() + " has no process in its config.json");
    }
    return new ContainerProcess(
        false,
        null,
        own.user(),
        command,
        own.env(),
        own.cwd(),
        own.capabilities(),
        own.rlimits(),
        own.noNewPrivileges(),
        own.apparmorProfile(),
        own.oomScoreAdj(),
        own.selinuxLabel());
  }

  /**
   * Kills the command and everything that came from it. The runtime gives each exec a session of
   * its own; what left the session is still found as a descendant. Repeated until nothing new turns
   * up, as processes may fork meanwhile.
   */
  private void killTree(Container container, Path pidFile) {
    Optional<Integer> root = Conmon.readPid(pidFile);
    if (root.isEmpty()) {
      return;
    }
    Set<Integer> killed = new HashSet<>();
    boolean found = true;
    while (found) {
      found = false;
      Map<Integer, Stat> processes = new HashMap<>();
      for (int pid : cgroups.processes(container.cgroup())) {
        Stat.of(pid).ifPresent(stat -> processes.put(pid, stat));
      }
      for (Map.Entry<Integer, Stat> entry : processes.entrySet()) {
        int pid = entry.getKey();
        if ((entry.getValue().session() == root.get()
                || descends(pid, root.get(), processes, killed))
            && killed.add(pid)) {
          found = true;
          ProcessRef.of(pid).ifPresent(process -> process.signal(SIGKILL));
        }
      }
    }
  }

  private static boolean descends(
      int pid, int root, Map<Integer, Stat> processes, Set<Integer> killed) {
    int at = pid;
    while (processes.containsKey(at)) {
      if (at == root || killed.contains(at)) {
        return true;
      }
      at = processes.get(at).parent();
    }
    return false;
  }

  /** Fields 4 and 6 of /proc/PID/stat. */
  private record Stat(int parent, int session) {
    static Optional<Stat> of(int pid) {
      try {
        String line =
            new String(
                Files.readAllBytes(Path.of("/proc/" + pid + "/stat")), StandardCharsets.ISO_8859_1);
        String[] fields = line.substring(line.lastIndexOf(')') + 2).split(" ");
        return Optional.of(new Stat(Integer.parseInt(fields[1]), Integer.parseInt(fields[3])));
      } catch (IOException e) {
        return Optional.empty();
      }
    }
  }

  private static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw new UncheckedIOException("delete " + file + ": " + e.getMessage(), e);
    }
  }
}
