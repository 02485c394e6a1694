package io.berth.daemon;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.berth.linux.Stages;
import io.grpc.Status;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// Operations as lines of JSON, for [FlightRecorder]. Empty fields are left out, unknown ones
/// ignored. Times are nanoseconds: of operations since the epoch, of stages since their operation's
/// start.
final class OperationJson {
  private static final JsonMapper MAPPER = JsonMapper.builder().build();

  private OperationJson() {}

  /// A line and its number, which grows from line to line.
  record Line(long number, Operation operation) {}

  /// Without a line end. The number comes first, by which lines are told from parts of lines.
  static byte[] write(long number, Operation operation) {
    ObjectNode line = MAPPER.createObjectNode();
    line.put("n", number);
    line.put("id", operation.requestId());
    line.put("method", operation.method());
    put(line, "object", operation.object());
    put(line, "pod", operation.subject().podId());
    put(line, "name", operation.subject().podName());
    put(line, "uid", operation.subject().podUid());
    put(line, "container", operation.subject().container());
    long start = nanos(operation.startedAt());
    line.put("at", start);
    line.put("took", operation.elapsed().toNanos());
    Status.Code code = operation.code();
    put(line, "code", code == null ? "" : code.toString());
    put(line, "error", operation.error());
    put(line, "trace", operation.trace());
    if (!operation.stages().isEmpty()) {
      var stages = line.putArray("stages");
      for (Stages.Stage stage : operation.stages()) {
        ObjectNode part = stages.addObject();
        part.put("name", stage.name());
        put(part, "subject", stage.subject());
        part.put("at", stage.startedAt() - start);
        part.put("took", stage.elapsed().toNanos());
        if (stage.running()) {
          part.put("running", true);
        }
        String error = stage.error();
        put(part, "error", error == null ? "" : error);
        if (stage.depth() > 0) {
          part.put("depth", stage.depth());
          part.put("in", stage.parent());
        }
        Stages.Waited process = stage.process();
        if (process != null) {
          part.put("process", process.name());
          part.put("pid", process.pid());
          put(part, "chain", process.chain());
        }
      }
    }
    try {
      return MAPPER.writeValueAsBytes(line);
    } catch (JsonProcessingException impossible) {
      throw new IllegalStateException(impossible); // a tree of plain values
    }
  }

  /// Empty when this is no whole line.
  static Optional<Line> read(String text) {
    try {
      JsonNode line = MAPPER.readTree(text);
      if (!line.isObject() || !line.path("n").canConvertToLong() || !line.has("method")) {
        return Optional.empty();
      }
      long start = line.path("at").asLong();
      List<Stages.Stage> stages = new ArrayList<>();
      for (JsonNode part : line.path("stages")) {
        String error = part.path("error").asText("");
        stages.add(
            new Stages.Stage(
                part.path("name").asText(),
                part.path("subject").asText(""),
                start + part.path("at").asLong(),
                Duration.ofNanos(part.path("took").asLong()),
                part.path("running").asBoolean(false),
                error.isEmpty() ? null : error,
                part.path("depth").asInt(0),
                part.path("in").asInt(-1),
                part.has("process")
                    ? new Stages.Waited(
                        part.path("process").asText(),
                        part.path("pid").asInt(),
                        part.path("chain").asText(""))
                    : null));
      }
      return Optional.of(
          new Line(
              line.path("n").asLong(),
              new Operation(
                  line.path("id").asText(),
                  line.path("method").asText(),
                  line.path("object").asText(""),
                  new Subject(
                      line.path("pod").asText(""),
                      line.path("name").asText(""),
                      line.path("uid").asText(""),
                      line.path("container").asText("")),
                  Instant.EPOCH.plusNanos(start),
                  Duration.ofNanos(line.path("took").asLong()),
                  line.has("code") ? Status.Code.valueOf(line.path("code").asText()) : null,
                  line.path("error").asText(""),
                  line.path("trace").asText(""),
                  List.copyOf(stages))));
    } catch (JsonProcessingException | IllegalArgumentException torn) {
      return Optional.empty();
    }
  }

  private static void put(ObjectNode node, String key, String value) {
    if (!value.isEmpty()) {
      node.put(key, value);
    }
  }

  static long nanos(Instant instant) {
    return instant.getEpochSecond() * 1_000_000_000L + instant.getNano();
  }
}
