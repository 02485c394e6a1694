package io.berth.e2e;

import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.ImageStatusRequest;
import io.berth.linux.Subprocess;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.List;

/**
 * berthd installed and run by its unit file, at the places that its defaults name. Only for the
 * machine of {@code ./dev vm-test}, which is thrown away afterwards.
 */
final class InstalledBerth {
  static final Path SOCKET = Path.of("/run/berth/berth.sock");
  static final Path LOGS = Path.of("/var/log/pods");

  private static final Path HOME = Path.of("/usr/lib/berth");
  private static final String UNIT = "berthd.service";
  private static final Path PRELOADED = Path.of("/var/lib/berth/preload");

  /** What starts in two seconds elsewhere takes a minute there, and more if others are busy. */
  static final Duration PATIENCE = Duration.ofMinutes(10);

  private InstalledBerth() {}

  /**
   * Installs and starts it, again with another configuration if it is there.
   *
   * @param config of /etc/berth/config.toml
   * @param image archive that it imports
   * @param name of the image in it
   */
  static InstalledBerth start(String config, Path image, String name)
      throws IOException, InterruptedException {
    if (!"true".equals(System.getenv("BERTH_VM"))) {
      throw TestTools.missing("this changes the machine, and is for that of ./dev vm-test");
    }
    if (!Files.exists(HOME)) {
      Files.createSymbolicLink(HOME, BerthDaemon.distribution());
    }
    Files.copy(
        HOME.resolve(UNIT),
        Path.of("/etc/systemd/system", UNIT),
        StandardCopyOption.REPLACE_EXISTING);
    Files.createDirectories(Path.of("/etc/berth"));
    Files.writeString(Path.of("/etc/berth/config.toml"), config);
    Files.createDirectories(Path.of("/etc/cni/net.d"));
    Files.writeString(
        Path.of("/etc/cni/net.d/10-pods.conflist"),
        """
        {"cniVersion": "1.0.0", "name": "pods", "plugins": [
          {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": true,
           "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.92.8.0/24"}]],
                    "routes": [{"dst": "0.0.0.0/0"}]}},
          {"type": "portmap", "capabilities": {"portMappings": true}}]}
        """);
    Files.createDirectories(PRELOADED);
    Files.copy(image, PRELOADED.resolve("image.tar"), StandardCopyOption.REPLACE_EXISTING);
    systemctl("daemon-reload");
    var berth = new InstalledBerth();
    berth.systemd("restart"); // which is a start when it doesn't run
    try (var client = new CriClient(SOCKET)) {
      var asked =
          ImageStatusRequest.newBuilder().setImage(ImageSpec.newBuilder().setImage(name)).build();
      Await.until("image " + name, PATIENCE, () -> client.images().imageStatus(asked).hasImage());
    }
    return berth;
  }

  /** Asks for start, stop or restart of the unit; serving on return unless stopped. */
  void systemd(String verb) throws InterruptedException {
    systemctl(verb, UNIT);
    if (!verb.equals("stop")) {
      awaitServing();
    }
  }

  void awaitServing() throws InterruptedException {
    try {
      Await.until(
          "berthd serves",
          PATIENCE,
          () -> {
            try (var probe = new CriClient(SOCKET)) {
              probe.runtime().version(io.berth.cri.v1.VersionRequest.getDefaultInstance());
              return true;
            }
          });
    } catch (AssertionError e) {
      throw new AssertionError(e.getMessage() + "; it has said: " + log(), e);
    }
  }

  long pid() throws InterruptedException {
    return Long.parseLong(property(UNIT, "MainPID"));
  }

  /** What the daemon has said. */
  String log() throws InterruptedException {
    return Commands.attempt(
            List.of("/usr/bin/journalctl", "-b", "--no-pager", "-u", UNIT), PATIENCE)
        .out();
  }

  /** What {@code berth} says, with any exit code. */
  static String berth(String... arguments) throws InterruptedException {
    var command = new java.util.ArrayList<String>(List.of(HOME.resolve("berth").toString()));
    command.addAll(List.of(arguments));
    Subprocess.Result result = Commands.attempt(command, PATIENCE);
    return result.out() + result.err();
  }

  static String property(String unit, String property) throws InterruptedException {
    return systemctl("show", "--value", "-p", property, unit).strip();
  }

  /** Its output. */
  static String systemctl(String... arguments) throws InterruptedException {
    var command = new java.util.ArrayList<String>(List.of("/usr/bin/systemctl"));
    command.addAll(List.of(arguments));
    Subprocess.Result result = Commands.attempt(command, PATIENCE);
    if (!result.ok()) {
      throw new AssertionError(String.join(" ", command) + ": " + result.err() + result.out());
    }
    return result.out();
  }
}
