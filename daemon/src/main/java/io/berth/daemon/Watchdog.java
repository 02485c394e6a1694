package io.berth.daemon;

import io.berth.linux.ProcessChain;
import io.berth.linux.Stages;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Looks at operations that take long: for which process they wait, all the way down, which goes
/// into their stages; and says in the log, at growing intervals, which of them have passed their
/// limit. A platform thread, as hung file systems may keep every carrier of virtual threads.
final class Watchdog implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger("watchdog");
  static final Duration LONG = Duration.ofMillis(700);
  private static final Duration PAUSE = Duration.ofMillis(500);
  private static final Duration NOTE = Duration.ofSeconds(2);
  private static final int FRAMES = 16;

  private final OperationLog operations;
  private final FlightRecorder recorder;
  private final DaemonConfig.Watchdog limits;
  private final Thread thread;
  // What is known of those that take long; of the thread alone.
  private final Map<OperationLog.Running, Attention> watched = new HashMap<>();

  private static final class Attention {
    Duration nextReport = Duration.ZERO;
    Duration lastNote = Duration.ZERO;
  }

  private Watchdog(OperationLog operations, FlightRecorder recorder, DaemonConfig.Watchdog limits) {
    this.operations = operations;
    this.recorder = recorder;
    this.limits = limits;
    this.thread = Thread.ofPlatform().daemon().name("watchdog").unstarted(this::watch);
  }

  static Watchdog start(
      OperationLog operations, FlightRecorder recorder, DaemonConfig.Watchdog limits) {
    var watchdog = new Watchdog(operations, recorder, limits);
    watchdog.thread.start();
    return watchdog;
  }

  private void watch() {
    try {
      while (true) {
        Thread.sleep(PAUSE);
        if (operations.runningCount() > 0 || !watched.isEmpty()) {
          look();
        }
      }
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
    }
  }

  private void look() {
    var running = operations.running();
    watched.keySet().retainAll(running);
    for (OperationLog.Running operation : running) {
      try {
        Operation now = operation.now();
        if (!operation.isEndless() && now.elapsed().compareTo(LONG) > 0) {
          look(operation, now, watched.computeIfAbsent(operation, _ -> new Attention()));
        }
      } catch (RuntimeException failure) {
        log.error("could not look at operation {}", operation.requestId(), failure);
      }
    }
  }

  private void look(OperationLog.Running operation, Operation now, Attention attention) {
    List<Stages.Running> stages = operation.stages().running();
    for (Stages.Running stage : stages) {
      Stages.Waited process = stage.stage().process();
      if (process != null && stage.stage().elapsed().compareTo(LONG) > 0) {
        ProcessChain chain = ProcessChain.of(process.pid());
        if (chain.links().size() > 1) {
          stage.saw(process.pid(), chain.describe());
        }
      }
    }
    Duration limit = limits.of(now.method());
    Optional<Stages.Running> late =
        stages.stream()
            .filter(stage -> stage.stage().elapsed().compareTo(limits.of(stage.stage().name())) > 0)
            .reduce((_, inner) -> inner);
    boolean overdue =
        (late.isPresent() || (stages.isEmpty() && now.elapsed().compareTo(limit) > 0))
            && now.elapsed().compareTo(attention.nextReport) >= 0;
    boolean noteDue =
        now.elapsed().minus(attention.lastNote).compareTo(NOTE) > 0
            && !Operation.isReading(now.method());
    if (overdue || noteDue) {
      attention.lastNote = now.elapsed();
      recorder.lasts(operation.now());
    }
    if (overdue) {
      attention.nextReport = now.elapsed().multipliedBy(2);
      log.warn("{}", report(now, late));
    }
  }

  private String report(Operation operation, Optional<Stages.Running> late) {
    var text = new StringBuilder();
    text.append(operation.method()).append(' ').append(operation.requestId());
    if (operation.subject().isKnown()) {
      text.append(" of pod ").append(operation.subject().podName());
      if (!operation.subject().podId().isEmpty()) {
        text.append(" (").append(operation.subject().podId()).append(')');
      }
    }
    if (!operation.object().isEmpty()) {
      text.append(", object ").append(operation.object()).append(',');
    }
    text.append(" has been running for ").append(Explanation.time(operation.elapsed()));
    late.ifPresent(running -> {
      Stages.Stage stage = running.stage();
      text.append(", ")
          .append(Explanation.time(stage.elapsed()))
          .append(" of it in stage ")
          .append(Explanation.name(stage))
          .append(", whose limit is ")
          .append(Explanation.time(limits.of(stage.name())));
      Stages.Waited process = stage.process();
      if (process != null) {
        ProcessChain.of(process.pid()).links().forEach(link -> describe(text, "process", link));
      }
    });
    ProcessChain.stuckThreads().forEach(link -> describe(text, "berthd's thread", link));
    late.ifPresent(running ->
        text.append(
            Arrays.stream(running.thread().getStackTrace())
                .limit(FRAMES)
                .map(frame -> "\n    at " + frame)
                .collect(Collectors.joining("", "\n  thread " + running.thread().getName(), ""))));
    return text.toString();
  }

  private static void describe(StringBuilder text, String what, ProcessChain.Link link) {
    text.append("\n  ").append(what).append(' ').append(link.pid());
    text.append(" (").append(link.name()).append(") state ").append(link.state());
    if (!link.waitChannel().isEmpty()) {
      text.append(" in ").append(link.waitChannel());
    }
    if (!link.stack().isEmpty()) {
      text.append(": ").append(String.join(" < ", link.stack()));
    }
  }

  @Override
  public void close() {
    thread.interrupt();
  }
}
