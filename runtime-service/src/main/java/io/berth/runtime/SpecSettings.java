package io.berth.runtime;

import io.berth.oci.RuntimeSpec.Rlimit;
import java.nio.file.Path;
import java.util.List;

/**
 * What the configuration says about every container's config.json.
 *
 * @param ulimits see {@link Ulimits}; what isn't among them is berthd's own
 * @param cdiFolders descriptions of devices, later folders with precedence
 * @param hookFolders hooks, later folders with precedence
 * @param blockIoClasses see {@link BlockIoClasses}; the file needn't exist
 * @param deviceOwnership device nodes belong to the user that the request names instead of to the
 *     machine's
 */
public record SpecSettings(
    List<Rlimit> ulimits,
    List<Path> cdiFolders,
    List<Path> hookFolders,
    Path blockIoClasses,
    boolean deviceOwnership) {

  /** Nothing beyond what a request asks for. */
  static final SpecSettings PLAIN =
      new SpecSettings(List.of(), List.of(), List.of(), Path.of("/etc/berth/blockio.yaml"), false);

  public SpecSettings {
    ulimits = List.copyOf(ulimits);
    cdiFolders = List.copyOf(cdiFolders);
    hookFolders = List.copyOf(hookFolders);
  }
}
