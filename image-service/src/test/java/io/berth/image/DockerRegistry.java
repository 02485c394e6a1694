package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.berth.linux.FileTree;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Debian's docker-registry on a free loopback port, with its own configuration and storage. */
final class DockerRegistry implements AutoCloseable {
  static final String USER = "berth";
  static final String PASSWORD = "anchor-of-the-test";

  /** crypt(5) of {@link #PASSWORD} by bcrypt, the only method the registry knows; lowest cost. */
  private static final String PASSWORD_HASH =
      "$2b$04$berthregistrytestsaltuHqUFsfFSzG8anxl8z7U/cWbU5bbxG2S";

  private final Path folder;
  private final Process process;
  private final String address;

  /**
   * Starts it.
   *
   * @param password whether it asks for one
   */
  DockerRegistry(boolean password) throws IOException {
    require("docker-registry");
    folder = Files.createTempDirectory("berth-registry-");
    Files.writeString(folder.resolve("htpasswd"), USER + ":" + PASSWORD_HASH + "\n");
    Files.writeString(
        folder.resolve("config.yml"),
        """
        version: 0.1
        log: {level: info, formatter: text, accesslog: {disabled: true}}
        storage:
          filesystem: {rootdirectory: storage}
        http: {addr: "127.0.0.1:0"}
        """
            + (password ? "auth: {htpasswd: {realm: test, path: htpasswd}}\n" : ""));
    process =
        new ProcessBuilder("docker-registry", "serve", "config.yml")
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .start();
    address = awaitListening(process);
  }

  /** It says in its log which port it took. */
  private static String awaitListening(Process process) throws IOException {
    BufferedReader log = process.inputReader(UTF_8);
    StringBuilder seen = new StringBuilder();
    for (String line = log.readLine(); line != null; line = log.readLine()) {
      seen.append(line).append('\n');
      int at = line.indexOf("listening on ");
      if (at >= 0) {
        Thread.ofVirtual().start(() -> log.lines().forEach(rest -> {}));
        return line.substring(at + "listening on ".length()).replaceAll("[^0-9.:].*", "");
      }
    }
    throw new IOException("docker-registry ended: " + seen);
  }

  String address() {
    return address;
  }

  /** Copies an image here with skopeo, from any of its transports. */
  void push(String source, String name, String... options) throws Exception {
    List<String> command = new ArrayList<>(List.of("copy", "--dest-tls-verify=false"));
    command.addAll(List.of(options));
    command.addAll(List.of(source, "docker://" + address + "/" + name));
    skopeo(command.toArray(String[]::new));
  }

  static void skopeo(String... arguments) throws Exception {
    require("skopeo");
    List<String> command = new ArrayList<>(List.of("skopeo", "--insecure-policy"));
    command.addAll(List.of(arguments));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), UTF_8);
    assertThat(process.waitFor()).as(output).isZero();
  }

  /** A tool that is missing fails the test in CI and skips it elsewhere. */
  private static void require(String program) {
    boolean there =
        List.of(System.getenv("PATH").split(":", -1)).stream()
            .anyMatch(folder -> Files.isExecutable(Path.of(folder, program)));
    if ("true".equals(System.getenv("CI"))) {
      assertThat(there).as("%s is not installed", program).isTrue();
    }
    assumeTrue(there, program + " is not installed");
  }

  @Override
  public void close() {
    process.destroyForcibly().onExit().join();
    FileTree.delete(folder);
  }
}
