package io.berth.runtime;

import io.berth.linux.CgroupDriver;
import io.berth.linux.ErrnoException;
import io.berth.linux.Stages;
import io.berth.linux.Subprocess;
import io.berth.oci.Json;
import io.berth.oci.RuntimeSpec;
import io.berth.runtime.ContainerException.Reason;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * An OCI runtime's binary, by the command line that runc and crun share. Containers are created
 * through {@link Conmon}; everything else is one short process here.
 */
public final class OciRuntime {
  private static final Duration STATE_LIMIT = Duration.ofSeconds(5);

  private final String handler;
  private final Supplier<Optional<Path>> program;
  private final Path root;
  private final CgroupDriver cgroupDriver;
  private final Map<String, String> environment;
  private final HandlerPolicy policy;
  private volatile @Nullable Asked asked;

  /** The features of the file that the program was when it was asked. */
  private record Asked(Path program, FileTime modified, long size, RuntimeFeatures features) {
    boolean isOf(Path other, BasicFileAttributes file) {
      return program.equals(other)
          && modified.equals(file.lastModifiedTime())
          && size == file.size();
    }
  }

  /**
   * A runtime as configured.
   *
   * @param program looked up at each use, as it may be installed while the daemon runs
   * @param root where it keeps its own state, one folder for each handler
   * @param environment what the program gets beside PATH and XDG_RUNTIME_DIR, or instead of these
   */
  public OciRuntime(
      String handler,
      Supplier<Optional<Path>> program,
      Path root,
      CgroupDriver cgroupDriver,
      Map<String, String> environment,
      HandlerPolicy policy) {
    this.handler = handler;
    this.program = program;
    this.root = root;
    this.cgroupDriver = cgroupDriver;
    this.policy = policy;
    // systemd's notify socket and the like are the daemon's; what the runtime needs is listed.
    Map<String, String> all =
        new HashMap<>(
            Map.of(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "XDG_RUNTIME_DIR",
                "/run"));
    all.putAll(environment);
    this.environment = Map.copyOf(all);
  }

  /** A runtime that gets no environment of its own and whose pods may do nothing special. */
  public OciRuntime(
      String handler, Supplier<Optional<Path>> program, Path root, CgroupDriver cgroupDriver) {
    this(handler, program, root, cgroupDriver, Map.of(), HandlerPolicy.STRICT);
  }

  String handler() {
    return handler;
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
                "use runtime handler \""
                    + handler
                    + "\": its program is missing or can't be executed; install it or correct runtimes."
                    + handler
                    + ".path"));
  }

  boolean isInstalled() {
    return program.get().isPresent();
  }

  HandlerPolicy policy() {
    return policy;
  }

  /**
   * What the program can do. It is asked once, and again when another file is in its place.
   *
   * @throws ContainerException UNSUPPORTED if it isn't installed
   */
  RuntimeFeatures features() throws InterruptedException {
    Path path = binary();
    BasicFileAttributes file;
    try {
      file = Files.readAttributes(path, BasicFileAttributes.class);
    } catch (IOException e) {
      return RuntimeFeatures.NONE; // gone this very moment: its next use says so
    }
    Asked known = asked;
    if (known == null || !known.isOf(path, file)) {
      known = new Asked(path, file.lastModifiedTime(), file.size(), ask(path));
      asked = known;
    }
    return known.features();
  }

  private RuntimeFeatures ask(Path path) throws InterruptedException {
    try {
      Subprocess.Result result =
          Subprocess.command(List.of(path.toString(), "features"))
              .environment(environment)
              .run(STATE_LIMIT);
      return result.ok()
          ? RuntimeFeatures.parse(result.stdout())
          : RuntimeFeatures.ofVersion(version());
    } catch (ErrnoException | IOException e) {
      return RuntimeFeatures.ofVersion(version());
    }
  }

  Path root() {
    return root;
  }

  CgroupDriver cgroupDriver() {
    return cgroupDriver;
  }

  Map<String, String> environment() {
    return environment;
  }

  /** Arguments that come before the subcommand, also when conmon calls. */
  List<String> globalArguments() {
    List<String> arguments = new ArrayList<>(List.of("--root=" + root));
    if (cgroupDriver == CgroupDriver.SYSTEMD) {
      arguments.add("--systemd-cgroup");
    }
    return arguments;
  }

  /**
   * Lets the program of a created container begin.
   *
   * @throws ContainerException RUNTIME_FAILED with the runtime's words
   */
  void start(ContainerId id) throws InterruptedException {
    run("start container " + id, List.of("start", id.value()));
  }

  /**
   * Removes what the runtime knows of a container, killing what is left of it.
   *
   * @throws ContainerException RUNTIME_FAILED
   */
  void delete(ContainerId id) throws InterruptedException {
    Stages.run(
        "runtime delete",
        handler,
        () -> run("delete container " + id, List.of("delete", "--force", id.value())));
  }

  /**
   * Sets limits of a living container; what is absent stays.
   *
   * @throws ContainerException RUNTIME_FAILED with the runtime's words, and then some limits may be
   *     set
   */
  void update(ContainerId id, RuntimeSpec.Resources limits) throws InterruptedException {
    run(
        "update container " + id,
        Subprocess.command(command(List.of("update", "--resources", "/dev/stdin", id.value())))
            .input(Json.write(limits)));
  }

  /**
   * What the runtime says of a container.
   *
   * @return {@code created, running, stopped} or {@code paused}; empty when it knows none, or
   *     doesn't answer: a restart waits for this
   */
  String status(ContainerId id) throws InterruptedException {
    Subprocess.Result result =
        Subprocess.command(command(List.of("state", id.value())))
            .environment(environment)
            .run(STATE_LIMIT);
    if (!result.ok()) {
      return "";
    }
    try {
      return io.berth.oci.Json.MAPPER.readTree(result.stdout()).path("status").asText("");
    } catch (IOException e) {
      throw new ContainerException(
          Reason.RUNTIME_FAILED,
          "read the state of container " + id + " from " + binary() + ": " + e.getMessage(),
          e);
    }
  }

  /**
   * Begins a process in a running container and leaves it to the daemon: the call ends when the
   * process has begun, and its number is in the pid file then.
   *
   * @param processSpec file with the OCI process object
   * @param console where the runtime delivers the terminal, if the process object wants one
   */
  Subprocess exec(
      ContainerId id, Path processSpec, Path pidFile, @Nullable Path console, ExecStreams streams) {
    List<String> argv =
        command(
            List.of(
                "exec",
                "--detach",
                "--process",
                processSpec.toString(),
                "--pid-file",
                pidFile.toString()));
    if (console != null) {
      argv.addAll(List.of("--console-socket", console.toString()));
    }
    argv.add(id.value());
    try {
      return streams.given(Subprocess.command(argv).environment(environment)).start();
    } catch (ErrnoException e) {
      throw failed("execute in container " + id, e.getMessage());
    }
  }

  /** The version line of the binary; empty when it doesn't answer. */
  String version() throws InterruptedException {
    try {
      Subprocess.Result result =
          Subprocess.command(List.of(binary().toString(), "--version"))
              .environment(environment)
              .run(Duration.ofSeconds(5));
      return result.out().lines().findFirst().orElse("");
    } catch (ErrnoException e) {
      return "";
    }
  }

  private void run(String operation, List<String> arguments) throws InterruptedException {
    run(operation, Subprocess.command(command(arguments)));
  }

  private void run(String operation, Subprocess.Builder call) throws InterruptedException {
    Subprocess.Result result;
    try {
      result = call.environment(environment).run();
    } catch (ErrnoException e) {
      throw failed(operation, e.getMessage());
    }
    if (!result.ok()) {
      throw failed(operation, words(result.err()));
    }
  }

  private List<String> command(List<String> arguments) {
    List<String> argv = new ArrayList<>();
    argv.add(binary().toString());
    argv.addAll(globalArguments());
    argv.addAll(arguments);
    return argv;
  }

  ContainerException failed(String operation, @Nullable String stderr) {
    String words = words(stderr);
    // runc and crun word it differently, both around the program's name.
    boolean command = words.contains("exec: \"") || words.contains("executable file");
    return new ContainerException(
        Reason.RUNTIME_FAILED,
        operation
            + ": runtime "
            + handler
            + " ("
            + binary()
            + ") says: "
            + words
            + (command ? "; correct the command or the image" : ""));
  }

  /**
   * The message without the runtime's log prefixes, of several lines the last that says something.
   */
  static String words(@Nullable String stderr) {
    String text = stderr == null ? "" : stderr.strip();
    String last = text.lines().filter(line -> !line.isBlank()).reduce("", (a, b) -> b).strip();
    int msg = last.indexOf("msg=\"");
    if (msg >= 0 && last.endsWith("\"")) { // logrus: time="…" level=error msg="…"
      last = last.substring(msg + 5, last.length() - 1).replace("\\\"", "\"");
    }
    if (last.toLowerCase(Locale.ROOT).startsWith("error: ")) {
      last = last.substring(7);
    }
    return last.isEmpty() ? "nothing" : last;
  }
}
