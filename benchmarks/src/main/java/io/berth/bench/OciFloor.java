package io.berth.bench;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.berth.bench.BenchException.Reason;
import io.berth.linux.ProcessRef;
import io.berth.oci.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.jspecify.annotations.Nullable;

/**
 * The floor of a container: the OCI runtime's own commands on a bundle that lies there ready, with
 * the configuration that `runc spec` makes. No monitor, no log, no snapshot.
 */
final class OciFloor {
  private static final int SIGKILL = 9;
  private static final String CONFIG = "config.json";

  private final Path runtime;
  private final Path state;
  private final Path bundles;
  private final ObjectNode spec;

  private OciFloor(Path runtime, Path state, Path bundles, ObjectNode spec) {
    this.runtime = runtime;
    this.state = state;
    this.bundles = bundles;
    this.spec = spec;
  }

  /**
   * @param folder own folder for the runtime's state, bundles and the root file system, on a tmpfs
   *     as Berth's are
   * @param command what the containers run
   */
  static OciFloor prepare(Path runtime, Path folder, List<String> command)
      throws IOException, InterruptedException {
    Path bundles = Files.createDirectories(folder.resolve("bundles"));
    Programs.run(
        List.of(runtime.toString(), "spec", "--bundle", bundles.toString()), runtime + " spec");
    ObjectNode spec = (ObjectNode) Json.MAPPER.readTree(bundles.resolve(CONFIG).toFile());
    ObjectNode process = spec.withObject("/process");
    process.put("terminal", false);
    ArrayNode args = process.putArray("args");
    command.forEach(args::add);
    spec.withObject("/root")
        .put("path", DemoImage.unpack(folder.resolve("rootfs")).toString())
        .put("readonly", false);
    ArrayNode namespaces = spec.withObject("/linux").putArray("namespaces");
    for (String type : List.of("pid", "ipc", "uts", "mount")) {
      namespaces.addObject().put("type", type);
    }
    return new OciFloor(runtime, Files.createDirectories(folder.resolve("runtime")), bundles, spec);
  }

  /**
   * Writes a bundle without starting anything.
   *
   * @param netns the network namespace to join; none is the host's network
   */
  void bundle(String id, @Nullable Path netns) throws IOException {
    ObjectNode own = spec.deepCopy();
    if (netns != null) {
      ArrayNode namespaces = (ArrayNode) own.at("/linux/namespaces");
      namespaces.addObject().put("type", "network").put("path", netns.toString());
    }
    Path bundle = Files.createDirectories(bundles.resolve(id));
    Files.write(bundle.resolve(CONFIG), Json.write(own));
  }

  /**
   * @return the container's first process
   */
  ProcessRef create(String id) throws InterruptedException {
    Path bundle = bundles.resolve(id);
    Path pidFile = bundle.resolve("pid");
    run("create", "--bundle", bundle.toString(), "--pid-file", pidFile.toString(), id);
    try {
      return ProcessRef.of(Integer.parseInt(Files.readString(pidFile)))
          .orElseThrow(() ->
              new BenchException(
                  Reason.PROGRAM, "container " + id + " ended as soon as it was made", null));
    } catch (IOException | NumberFormatException e) {
      throw new BenchException(Reason.PROGRAM, "read " + pidFile + ": " + e.getMessage(), e);
    }
  }

  void start(String id) throws InterruptedException {
    run("start", id);
  }

  void exec(String id, List<String> command) throws InterruptedException {
    List<String> arguments = new ArrayList<>(List.of("exec", id));
    arguments.addAll(command);
    run(arguments.toArray(String[]::new));
  }

  /** The whole command line of an exec. */
  List<String> execCommand(String id, List<String> command) {
    List<String> argv =
        new ArrayList<>(List.of(runtime.toString(), "--root", state.toString(), "exec", id));
    argv.addAll(command);
    return argv;
  }

  /** Returns when the process has ended. */
  void kill(String id, ProcessRef process) throws InterruptedException {
    var ended = new CountDownLatch(1);
    process.onExit(ended::countDown);
    run("kill", id, Integer.toString(SIGKILL));
    ended.await();
  }

  void delete(String id) throws InterruptedException {
    run("delete", id);
  }

  /** Removes whatever there is of a container, however far it came. */
  void discard(String id) throws InterruptedException {
    run("delete", "--force", id);
  }

  private void run(String... arguments) throws InterruptedException {
    List<String> argv = new ArrayList<>(List.of(runtime.toString(), "--root", state.toString()));
    argv.addAll(List.of(arguments));
    Programs.run(argv, runtime + " " + String.join(" ", arguments));
  }
}
