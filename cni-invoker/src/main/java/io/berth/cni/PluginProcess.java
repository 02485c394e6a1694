package io.berth.cni;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.linux.ErrnoException;
import io.berth.linux.Stages;
import io.berth.linux.Subprocess;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
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
