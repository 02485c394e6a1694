package io.berth.runtime;

import io.berth.linux.AdoptedProcess;
import io.berth.linux.Cgroups;
import io.berth.linux.ConsoleSocket;
import io.berth.linux.ErrnoException;
import io.berth.linux.Fd;
import io.berth.linux.FdReader;
import io.berth.linux.Subprocess;
import io.berth.oci.Json;
import io.berth.oci.RuntimeSpec.ConsoleSize;
import io.berth.oci.RuntimeSpec.ContainerProcess;
import io.berth.runtime.ContainerException.Reason;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Begins commands in running containers. The OCI runtime is called detached: it hands the pipes or
 * the terminal straight to the command and ends, and the command falls to the daemon, its next
 * ancestor that adopts orphans. So no process stands between, neither for the bytes nor in memory.
 */
final class ExecLauncher {
  private static final int SIGKILL = 9;
  private static final Duration AFTER_KILL = Duration.ofSeconds(2);

  private final ContainerLayout layout;
  private final RuntimeHandlers handlers;
  private final Cgroups cgroups;
  private final AtomicLong counter = new AtomicLong();

  ExecLauncher(ContainerLayout layout, RuntimeHandlers handlers, Cgroups cgroups) {
    this.layout = layout;
    this.handlers = handlers;
    this.cgroups = cgroups;
  }

  /**
   * How the command's streams are to be connected.
   *
   * @param stdin whether it may read
   * @param size of the terminal, if it is known already
   */
  record Wanted(boolean tty, boolean stdin, @Nullable ConsoleSize size) {
    static final Wanted OUTPUT_ONLY = new Wanted(false, false, null);
  }

  /** Of a config.json the one part wanted: the whole, with its seccomp rules, takes ten times. */
  private record Made(@Nullable ContainerProcess process) {}

  static String operation(List<String> command, ContainerId id) {
    return "execute "
        + (command.isEmpty() ? "nothing" : command.getFirst())
        + " in container "
        + id;
  }

  /**
   * Refuses what can't be begun.
   *
   * @throws ContainerException INVALID, WRONG_STATE
   */
  static void require(Container container, List<String> command) {
    if (command.isEmpty()) {
      throw new ContainerException(
          Reason.INVALID,
          "execute in container " + container.id() + ": the command is empty; give a program");
    }
    if (container.state() != ContainerState.RUNNING) {
      throw new ContainerException(
          Reason.WRONG_STATE,
          "execute in container "
              + container.id()
              + ": it is "
              + container.state()
              + "; only a running container can be entered");
    }
  }

  /**
   * Begins a command as the container's own user, with its environment and limits.
   *
   * @param limit for the runtime to begin it
   * @param connected is given the pipes before the runtime has ended, as the command may have
   *     written by then; what a runtime that fails says is never on standard output
   * @return empty when that took longer; nothing is left of it then
   * @throws ContainerException as {@link #require}; RUNTIME_FAILED when it could not begin
   */
  Optional<ExecProcess> start(
      Container container,
      List<String> command,
      Wanted wanted,
      Duration limit,
      Consumer<ExecStreams> connected)
      throws InterruptedException {
    require(container, command);
    AdoptedProcess.prepare();
    ContainerId id = container.id();
    OciRuntime runtime = handlers.get(container.handler());
    // With the daemon's number: an exec that an earlier daemon has left may still write its files.
    String name = "exec-" + ProcessHandle.current().pid() + "-" + counter.incrementAndGet();
    Path spec = layout.bundle(id).resolve(name + ".json");
    Path pidFile = layout.bundle(id).resolve(name + ".pid");
    ExecStreams streams = wanted.tty() ? ExecStreams.none() : ExecStreams.pipes(wanted.stdin());
    boolean begun = false;
    try (ConsoleSocket console =
        wanted.tty() ? ConsoleSocket.listen(layout.bundle(id), name + ".tty") : null) {
      Files.write(spec, Json.write(process(container, command, wanted)));
      Subprocess call =
          runtime.exec(id, spec, pidFile, console == null ? null : console.address(), streams);
      streams.handOver();
      connected.accept(streams);
      Optional<Subprocess.Result> result = await(call, limit, container, pidFile);
      if (result.isEmpty()) {
        return Optional.empty();
      }
      Optional<Integer> pid = Conmon.readPid(pidFile);
      if (!result.get().ok() || pid.isEmpty()) {
        throw runtime.failed(
            operation(command, id), console == null ? said(streams) : result.get().err());
      }
      ExecProcess process =
          follow(container, pid.get(), streams, console == null ? null : console.receive(), wanted);
      begun = true;
      return Optional.of(process);
    } catch (IOException e) {
      throw new UncheckedIOException(operation(command, id) + ": " + e.getMessage(), e);
    } catch (ErrnoException e) {
      throw runtime.failed(operation(command, id), e.getMessage());
    } finally {
      delete(spec);
      delete(pidFile);
      if (!begun) {
        streams.close();
      }
    }
  }

  private ExecProcess follow(
      Container container, int pid, ExecStreams streams, @Nullable Fd terminal, Wanted wanted) {
    boolean followed = false;
    try {
      AdoptedProcess process = AdoptedProcess.of(pid);
      if (terminal != null) {
        streams.terminal(terminal, wanted.stdin());
      }
      followed = true;
      return new ExecProcess(process, streams, terminal, cgroups, container.cgroup());
    } finally {
      if (!followed) {
        ProcessTree.kill(cgroups, container.cgroup(), pid);
        if (terminal != null) {
          terminal.close();
        }
      }
    }
  }

  /** The runtime, for as long as it takes to begin the command. */
  private Optional<Subprocess.Result> await(
      Subprocess call, Duration limit, Container container, Path pidFile)
      throws InterruptedException {
    try {
      Optional<Subprocess.Result> result = call.poll(limit);
      if (result.isEmpty()) {
        abandon(call, container, pidFile);
      }
      return result;
    } catch (InterruptedException e) {
      abandon(call, container, pidFile);
      throw e;
    }
  }

  /**
   * Lets the runtime come to its end, which is a matter of milliseconds unless it hangs: killed
   * half way it could leave a command of which nobody knows the number.
   */
  private void abandon(Subprocess call, Container container, Path pidFile)
      throws InterruptedException {
    boolean interrupted = Thread.interrupted();
    try {
      if (call.poll(AFTER_KILL).isEmpty()) {
        call.kill(SIGKILL);
        var _ = call.poll(AFTER_KILL);
      }
      Conmon.readPid(pidFile).ifPresent(pid -> ProcessTree.kill(cgroups, container.cgroup(), pid));
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** What the runtime has written instead of the command. */
  private static String said(ExecStreams streams) throws InterruptedException {
    FdReader reader = streams.takeStderr();
    if (reader == null) {
      return "";
    }
    try (reader) {
      reader.endWithWhatIsThere();
      ByteArrayOutputStream text = new ByteArrayOutputStream();
      byte[] buffer = new byte[4096];
      for (int n = reader.read(buffer); n > 0; n = reader.read(buffer)) {
        text.write(buffer, 0, n);
      }
      return text.toString(StandardCharsets.UTF_8);
    }
  }

  /** The container's own process with another command. */
  private ContainerProcess process(Container container, List<String> command, Wanted wanted)
      throws IOException {
    ContainerProcess own =
        Json.read(Files.readAllBytes(layout.spec(container.id())), Made.class, "config.json")
            .process();
    if (own == null) {
      throw new IllegalStateException(
          "container " + container.id() + " has no process in its config.json");
    }
    return new ContainerProcess(
        wanted.tty(),
        wanted.size(),
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

  private static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw new UncheckedIOException("delete " + file + ": " + e.getMessage(), e);
    }
  }
}
