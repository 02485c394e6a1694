package io.berth.oci;

import com.fasterxml.jackson.annotation.JsonFormat;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** An image's configuration (image-spec, config): its digest is the image's id. */
public record ImageConfig(
    @Nullable String created,
    @Nullable String author,
    @Nullable String architecture,
    @Nullable String os,
    @Nullable String variant,
    Execution config,
    RootFs rootfs,
    @Nullable List<History> history) {

  @SuppressWarnings("ConstantValue") // Jackson passes null for a missing field
  public ImageConfig {
    config = config == null ? Execution.NONE : config;
    rootfs = rootfs == null ? new RootFs("layers", List.of()) : rootfs;
  }

  /**
   * How a container of the image is run by default. Absent lists and maps are empty here.
   *
   * @param user {@code name[:group]} or {@code uid[:gid]}, "" for root
   * @param env {@code NAME=value}
   * @param volumes the paths that get a volume of their own
   */
  public record Execution(
      @JsonProperty("User") String user,
      @JsonProperty("ExposedPorts") @Nullable Map<String, JsonNode> exposedPorts,
      @JsonProperty("Env") List<String> env,
      @JsonProperty("Entrypoint")
          @JsonFormat(with = JsonFormat.Feature.ACCEPT_SINGLE_VALUE_AS_ARRAY)
          List<String> entrypoint,
      @JsonProperty("Cmd") @JsonFormat(with = JsonFormat.Feature.ACCEPT_SINGLE_VALUE_AS_ARRAY)
          List<String> cmd,
      @JsonProperty("Volumes") Map<String, JsonNode> volumes,
      @JsonProperty("WorkingDir") String workingDir,
      @JsonProperty("Labels") Map<String, String> labels,
      @JsonProperty("StopSignal") String stopSignal) {

    static final Execution NONE =
        new Execution("", null, List.of(), List.of(), List.of(), Map.of(), "", Map.of(), "");

    @SuppressWarnings("ConstantValue") // Jackson passes null for a missing field
    public Execution {
      user = user == null ? "" : user;
      env = env == null ? List.of() : List.copyOf(env);
      entrypoint = entrypoint == null ? List.of() : List.copyOf(entrypoint);
      cmd = cmd == null ? List.of() : List.copyOf(cmd);
      volumes = volumes == null ? Map.of() : volumes;
      workingDir = workingDir == null ? "" : workingDir;
      labels = labels == null ? Map.of() : labels;
      stopSignal = stopSignal == null ? "" : stopSignal;
    }
  }

  /**
   * The stack of layers.
   *
   * @param diffIds digests of the uncompressed layers, bottom first
   */
  public record RootFs(String type, @JsonProperty("diff_ids") List<Digest> diffIds) {
    @SuppressWarnings("ConstantValue") // Jackson passes null for a missing field
    public RootFs {
      diffIds = diffIds == null ? List.of() : List.copyOf(diffIds);
    }
  }

  /** One build step. */
  public record History(
      @Nullable String created,
      @JsonProperty("created_by") @Nullable String createdBy,
      @Nullable String author,
      @Nullable String comment,
      @JsonProperty("empty_layer") boolean emptyLayer) {}
}
