package io.berth.oci;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** Programs that the low-level runtime runs around a container (runtime-spec, "POSIX hooks"). */
public record Hooks(
    @Nullable List<Hook> prestart,
    @Nullable List<Hook> createRuntime,
    @Nullable List<Hook> createContainer,
    @Nullable List<Hook> startContainer,
    @Nullable List<Hook> poststart,
    @Nullable List<Hook> poststop) {

  /**
   * One program.
   *
   * @param path absolute
   * @param args with the name of the program first
   * @param timeout in seconds
   */
  public record Hook(
      String path,
      @Nullable List<String> args,
      @Nullable List<String> env,
      @Nullable Integer timeout) {}
}
