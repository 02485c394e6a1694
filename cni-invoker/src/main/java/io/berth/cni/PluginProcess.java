package io.berth.cni;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.linux.ErrnoException;
import io.berth.linux.ProcessRef;
import io.berth.linux.Stages;
import io.berth.linux.Subprocess;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One call of a plugin: finds the program, hands it environment and request, and judges how it
 * ended.
 */
final class PluginProcess {
  private static final Logger log = LoggerFactory.getLogger(PluginProcess.class);

  /**
   * ETXTBSY, errno(3): the program is being written, as by an installer that copies over the old
   * one.
   */
  private static final int TEXT_FILE_BUSY = 26;

  private static final int BUSY_ATTEMPTS = 10;
  private static final Duration BUSY_PAUSE = Duration.ofMillis(200);
  private static final Duration LEFT_BEHIND_PAUSE = Duration.ofMillis(10);
  private static final int SIGKILL = 9;

  private final List<Path> folders;
  private final Map<String, String> inherited;
  private final String cniPath;

  enum Command {
    ADD,
    DEL,
    CHECK,
    STATUS,
    GC,
    VERSION
  }

  /**
   * Who is asked for what.
   *
   * @param operation for messages, as in {@code cni add of sandbox 1f2e to network podnet}
   * @param variables the CNI_ variables besides CNI_COMMAND and CNI_PATH
   * @param request what the plugin reads from standard input
   */
  record Call(
      String operation,
      Command command,
      String plugin,
      Map<String, String> variables,
      JsonNode request) {}

  PluginProcess(CniSettings settings) {
    this.folders = settings.binDirs();
    this.inherited = settings.environment();
    this.cniPath = folders.stream().map(Path::toString).collect(Collectors.joining(":"));
  }

  /** The plugin's program in the first folder that has one. */
  Optional<Path> find(String plugin) {
    return folders.stream()
        .map(folder -> folder.resolve(plugin))
        .filter(file -> Files.isRegularFile(file) && Files.isExecutable(file))
        .findFirst();
  }

  /** Says what is missing, where it was sought and what to do. */
  String missing(String plugin) {
    return "plugin "
        + plugin
        + " is not installed in "
        + cniPath
        + "; install it or correct the plugin folders";
  }

  /**
   * Runs the plugin. An interrupt, like the timeout, kills it with all it started.
   *
   * @param timeout null to wait as long as the caller does
   * @return what it printed, as it ended well
   * @throws CniException NETWORK_NOT_READY when it isn't installed, PLUGIN_FAILED or TRY_AGAIN with
   *     its own words, TIMED_OUT
   */
  byte[] run(Call call, @Nullable Duration timeout) throws InterruptedException {
    String plugin = call.plugin();
    Subprocess.Result result =
        Stages.time(
            "cni " + call.command().name().toLowerCase(Locale.ROOT) + " " + plugin,
            () -> {
              Subprocess process = start(call);
              return timeout == null ? process.await() : process.await(timeout);
            });
    if (result.timedOut()) {
      throw CniException.timedOut(
          call.operation(),
          plugin,
          "did not answer within " + seconds(timeout) + " and was killed" + lastWords(result));
    }
    if (!result.ok()) {
      throw CniException.pluginFailed(call.operation(), PluginError.of(plugin, result));
    }
    if (result.stderr().length > 0) {
      log.debug(
          "{}: plugin {} remarked: {}",
          call.operation(),
          plugin,
          PluginError.excerpt(result.err()));
    }
    return result.stdout();
  }

  /**
   * Waits for plugins that an earlier daemon has left at work for a sandbox, and kills those that
   * take too long: left to end by themselves they keep their files whole. They and what they
   * delegate to are known by their environment. The caller runs none for this sandbox meanwhile.
   */
  void awaitLeftBehind(String sandboxId, Duration limit) throws InterruptedException {
    String variable = "CNI_CONTAINERID=" + sandboxId;
    long start = System.nanoTime();
    List<ProcessRef> left = processesWith(variable);
    while (!left.isEmpty()) {
      long waited = System.nanoTime() - start;
      if (waited > 2 * limit.toNanos()) {
        throw new CniException(
            CniException.Reason.TIMED_OUT,
            "cni del of sandbox "
                + sandboxId
                + ": its add still runs in processes "
                + left.stream().map(ProcessRef::pid).toList()
                + " though they were killed; they may hang in the kernel, see /proc/PID/stack",
            null);
      }
      if (waited > limit.toNanos()) {
        left.forEach(process -> process.signal(SIGKILL));
      }
      Thread.sleep(LEFT_BEHIND_PAUSE);
      left = left.stream().anyMatch(ProcessRef::isAlive) ? left : processesWith(variable);
    }
  }

  private static List<ProcessRef> processesWith(String variable) {
    try (DirectoryStream<Path> processes = Files.newDirectoryStream(Path.of("/proc"), "[0-9]*")) {
      return StreamSupport.stream(processes.spliterator(), false)
          .filter(process -> environment(process).contains(variable))
          .map(process -> ProcessRef.of(Integer.parseInt(process.getFileName().toString())))
          .flatMap(Optional::stream)
          .toList();
    } catch (IOException | DirectoryIteratorException e) {
      throw new IllegalStateException("look through the processes: " + e.getMessage(), e);
    }
  }

  private static List<String> environment(Path process) {
    try {
      byte[] block = Files.readAllBytes(process.resolve("environ"));
      return List.of(new String(block, StandardCharsets.ISO_8859_1).split("\0", -1));
    } catch (IOException e) {
      return List.of(); // ended meanwhile
    }
  }

  private Subprocess start(Call call) throws InterruptedException {
    Path program =
        find(call.plugin())
            .orElseThrow(() ->
                new CniException(
                    CniException.Reason.NETWORK_NOT_READY,
                    call.operation() + ": " + missing(call.plugin()),
                    null));
    Map<String, String> environment = new HashMap<>(inherited);
    environment.putAll(call.variables());
    environment.put("CNI_COMMAND", call.command().name());
    environment.put("CNI_PATH", cniPath);
    Subprocess.Builder command =
        Subprocess.command(List.of(program.toString()))
            .environment(environment)
            .input(CniJson.bytes(call.request()));
    for (int attempt = 1; ; attempt++) {
      try {
        return command.start();
      } catch (ErrnoException e) {
        if (!e.is(TEXT_FILE_BUSY) || attempt == BUSY_ATTEMPTS) {
          throw new CniException(
              CniException.Reason.PLUGIN_FAILED,
              call.operation()
                  + ": plugin "
                  + call.plugin()
                  + " can't be started: "
                  + e.getMessage(),
              e);
        }
        Thread.sleep(BUSY_PAUSE);
      }
    }
  }

  private static String lastWords(Subprocess.Result result) {
    return result.err().isBlank() ? "" : "; it had said: " + PluginError.excerpt(result.err());
  }

  private static String seconds(@Nullable Duration timeout) {
    long millis = timeout == null ? 0 : timeout.toMillis();
    return millis % 1000 == 0 ? millis / 1000 + " s" : millis + " ms";
  }
}
