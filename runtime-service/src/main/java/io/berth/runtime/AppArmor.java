package io.berth.runtime;

import io.berth.linux.ErrnoException;
import io.berth.linux.PrivateFolder;
import io.berth.linux.Subprocess;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.SandboxSecurity.SecurityProfile;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * AppArmor profiles of containers. The default one is our own; it is compiled and loaded by
 * apparmor_parser when a container first needs it, and again when somebody has removed it. Where
 * the kernel has no AppArmor nothing happens here.
 */
public final class AppArmor {
  /** The default profile's name in the kernel. */
  static final String DEFAULT = "berth-default";

  private static final String TEXT = "apparmor-default";
  private static final Duration LOAD_LIMIT = Duration.ofSeconds(30);

  private final @Nullable Path loaded;
  private final Supplier<Optional<Path>> parser;
  private final Path folder;
  private boolean current; // guarded by this: the loaded default is this version's

  /**
   * Loads nothing yet.
   *
   * @param loaded the kernel's list of profiles; absent where it has no AppArmor
   * @param parser the program apparmor_parser
   * @param folder where the profile's text is put for it; made when needed
   */
  public AppArmor(@Nullable Path loaded, Supplier<Optional<Path>> parser, Path folder) {
    this.loaded = loaded;
    this.parser = parser;
    this.folder = folder;
  }

  /**
   * Sees to it that the default profile is there if the container is going to have it.
   *
   * @throws ContainerException RUNTIME_FAILED if it can't be loaded, though the container asks for
   *     it; one that asks for nothing then runs without
   */
  void prepare(ContainerConfig.Security security) throws InterruptedException {
    if (loaded == null || !isDefault(security) || security.privileged()) {
      return;
    }
    synchronized (this) {
      if (!current || !isLoaded(DEFAULT)) {
        if (security.apparmor() == null && parser.get().isEmpty()) {
          return;
        }
        load();
        current = true;
      }
    }
  }

  private static boolean isDefault(ContainerConfig.Security security) {
    return security.apparmor() == null
        || security.apparmor().kind() == SecurityProfile.Kind.RUNTIME_DEFAULT;
  }

  private void load() throws InterruptedException {
    String operation = "load AppArmor profile " + DEFAULT + ": ";
    Path program =
        parser
            .get()
            .orElseThrow(() ->
                new ContainerException(
                    Reason.UNSUPPORTED,
                    operation
                        + "apparmor_parser isn't installed; install the package apparmor, or ask for Unconfined"));
    try (InputStream text = AppArmor.class.getResourceAsStream(TEXT)) {
      if (text == null) {
        throw new IllegalStateException(TEXT + " is missing from this build");
      }
      Path file = PrivateFolder.make(folder).resolve(DEFAULT);
      Files.write(file, text.readAllBytes());
      Subprocess.Result result =
          Subprocess.command(
                  List.of(
                      program.toString(), "--replace", "--skip-cache", "--quiet", file.toString()))
              .run(LOAD_LIMIT);
      if (!result.ok()) {
        throw new ContainerException(
            Reason.RUNTIME_FAILED,
            operation + program + " says: " + OciRuntime.words(result.err()));
      }
    } catch (IOException | ErrnoException e) {
      throw new ContainerException(Reason.RUNTIME_FAILED, operation + e.getMessage(), e);
    }
  }

  /**
   * The profile for config.json.
   *
   * @return absent: none, as there is nothing to confine with
   */
  @Nullable String profile(SpecBuilder.Request request) {
    SecurityProfile wanted = request.config().security().apparmor();
    if (wanted == null || wanted.kind() == SecurityProfile.Kind.RUNTIME_DEFAULT) {
      // Not asked for and not to be had, for want of the parser: the doctor says so.
      return request.privileged() || !isLoaded(DEFAULT) ? null : DEFAULT;
    }
    if (wanted.kind() == SecurityProfile.Kind.UNCONFINED) {
      return loaded == null ? null : "unconfined";
    }
    String name = wanted.localhostRef().replaceFirst("^localhost/", "");
    if (loaded == null) {
      throw request.invalid(
          "it asks for AppArmor profile \""
              + SpecBuilder.printable(name)
              + "\", but AppArmor isn't enabled on this machine; remove its appArmorProfile");
    }
    if (!isLoaded(name)) {
      throw request.invalid(
          "AppArmor profile \""
              + SpecBuilder.printable(name)
              + "\" isn't loaded; load it with apparmor_parser or name another");
    }
    return name;
  }

  private boolean isLoaded(String name) {
    if (loaded == null) {
      return false;
    }
    try {
      // Each line reads "name (mode)".
      return Files.readAllLines(loaded).stream()
          .anyMatch(line -> line.lastIndexOf(" (") == name.length() && line.startsWith(name));
    } catch (IOException e) {
      throw new ContainerException(
          Reason.RUNTIME_FAILED, "read the loaded AppArmor profiles in " + loaded + ": " + e, e);
    }
  }
}
