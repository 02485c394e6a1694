package io.berth.e2e;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.google.errorprone.annotations.CanIgnoreReturnValue;
import com.google.protobuf.Descriptors.EnumValueDescriptor;
import com.google.protobuf.MapEntry;
import com.google.protobuf.Message;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.linux.Subprocess;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The administrator's usual client, pointed at one daemon. */
final class Crictl {
  private static final JsonMapper JSON = new JsonMapper();

  private final BerthDaemon daemon;

  Crictl(BerthDaemon daemon) {
    this.daemon = daemon;
  }

  /**
   * @return what it prints
   * @throws AssertionError unless it succeeds
   */
  @CanIgnoreReturnValue
  String run(String... arguments) throws InterruptedException {
    return Commands.run(command(arguments)).strip();
  }

  /** Whatever its exit code. */
  Subprocess.Result attempt(String... arguments) throws InterruptedException {
    return Commands.attempt(command(arguments));
  }

  /** Adds {@code -o json} and reads the answer. */
  JsonNode json(String... arguments) throws InterruptedException {
    var all = new ArrayList<>(List.of(arguments));
    all.addAll(1, List.of("-o", "json"));
    String answer = run(all.toArray(String[]::new));
    try {
      return JSON.readTree(answer);
    } catch (IOException failure) {
      throw new AssertionError("crictl " + all + " prints no JSON: " + answer, failure);
    }
  }

  /**
   * @return the pod's id
   */
  String runPod(PodSandboxConfig.Builder pod) throws InterruptedException {
    return run("runp", file(pod).toString());
  }

  /**
   * By a runtime handler.
   *
   * @return the pod's id
   */
  String runPod(PodSandboxConfig.Builder pod, String handler) throws InterruptedException {
    return run("runp", "--runtime", handler, file(pod).toString());
  }

  /** Of a pod that is refused. */
  Subprocess.Result attemptPod(PodSandboxConfig.Builder pod, String handler)
      throws InterruptedException {
    return attempt("runp", "--runtime", handler, file(pod).toString());
  }

  /** Of a container that is refused. */
  Subprocess.Result attemptCreate(
      String podId, ContainerConfig.Builder container, PodSandboxConfig.Builder pod)
      throws InterruptedException {
    return attempt("create", podId, file(container).toString(), file(pod).toString());
  }

  /**
   * @return the container's id
   */
  String create(String podId, ContainerConfig.Builder container, PodSandboxConfig.Builder pod)
      throws InterruptedException {
    return run("create", podId, file(container).toString(), file(pod).toString());
  }

  /** Creates and starts. */
  String start(String podId, ContainerConfig.Builder container, PodSandboxConfig.Builder pod)
      throws InterruptedException {
    String id = create(podId, container, pod);
    run("start", id);
    return id;
  }

  /** For a process that goes on beside the test. */
  List<String> command(String... arguments) {
    var command = new ArrayList<String>();
    String endpoint = "unix://" + daemon.socket();
    command.add(TestTools.built("crictl").toString());
    command.addAll(
        List.of(
            // Not this machine's own configuration; the file named here is empty.
            "--config",
            emptyFile().toString(),
            "--runtime-endpoint",
            endpoint,
            "--image-endpoint",
            endpoint,
            "--timeout",
            "60s"));
    command.addAll(List.of(arguments));
    return command;
  }

  private Path emptyFile() {
    Path file = daemon.folder().resolve("crictl.yaml");
    try {
      if (Files.notExists(file)) {
        Files.writeString(file, "{}\n");
      }
      return file;
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  private Path file(Message.Builder message) {
    try {
      Path file = Files.createTempFile(daemon.folder(), "request-", ".json");
      return Files.writeString(file, JSON.writeValueAsString(plain(message.build())));
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  /** The form that crictl reads: names as in the protocol, enumerations by number. */
  private static Object plain(Object value) {
    return switch (value) {
      case List<?> list when !list.isEmpty() && list.getFirst() instanceof MapEntry<?, ?> -> {
        Map<Object, Object> map = new LinkedHashMap<>();
        list.forEach(entry -> {
          if (entry instanceof MapEntry<?, ?> pair) {
            map.put(pair.getKey(), plain(pair.getValue()));
          }
        });
        yield map;
      }
      case List<?> list -> list.stream().map(Crictl::plain).toList();
      case Message message -> {
        Map<String, Object> fields = new LinkedHashMap<>();
        message.getAllFields().forEach((field, set) -> fields.put(field.getName(), plain(set)));
        yield fields;
      }
      case EnumValueDescriptor constant -> constant.getNumber();
      default -> value;
    };
  }
}
