package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.berth.linux.FileTree;
import io.berth.linux.Subprocess;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Debian's gpg with keys of its own; its agent is ended with it. */
final class Gpg implements AutoCloseable {
  /** Keys and signatures of this time are of a distant past. */
  static final String LONG_AGO = "20200301T120000";

  private static final Duration LIMIT = Duration.ofMinutes(2);

  private final Path home;

  Gpg() throws IOException {
    home =
        Files.createTempDirectory(
            Path.of("/tmp"),
            "gpg-",
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
  }

  private byte[] run(byte[] input, List<String> arguments) throws InterruptedException {
    List<String> command = new ArrayList<>(List.of("/usr/bin/gpg", "--batch", "--no-tty"));
    command.addAll(List.of("--yes", "--pinentry-mode", "loopback", "--passphrase", ""));
    command.addAll(arguments);
    Subprocess.Result result = start(command, input);
    if (!result.ok()) {
      throw new AssertionError(command + ": " + result.err());
    }
    return result.stdout();
  }

  private Subprocess.Result start(List<String> command, byte[] input) throws InterruptedException {
    return Subprocess.command(command)
        .environment(Map.of("GNUPGHOME", home.toString(), "PATH", "/usr/bin:/bin", "HOME", "/root"))
        .input(input)
        .run(LIMIT);
  }

  private byte[] run(String... arguments) throws InterruptedException {
    return run(new byte[0], List.of(arguments));
  }

  /** Makes a key and tells its fingerprint. */
  String key(String name, String algorithm, String usage) throws InterruptedException {
    byte[] _ = run("--quick-gen-key", name, algorithm, usage, "never");
    return fingerprint(name);
  }

  /** Made long ago, for a year. */
  String expiredKey(String name) throws InterruptedException {
    byte[] _ =
        run("--faked-system-time", LONG_AGO, "--quick-gen-key", name, "ed25519", "sign", "1y");
    return fingerprint(name);
  }

  void addSubkey(String fingerprint, String usage) throws InterruptedException {
    byte[] _ = run("--quick-add-key", fingerprint, "ed25519", usage, "never");
  }

  /** By the certificate that gpg laid aside when it made the key. */
  void revoke(String fingerprint) throws IOException, InterruptedException {
    Path certificate = home.resolve("openpgp-revocs.d/" + fingerprint + ".rev");
    String text = Files.readString(certificate).replace(":-----BEGIN", "-----BEGIN");
    byte[] _ = run(text.getBytes(UTF_8), List.of("--import"));
  }

  private String fingerprint(String name) throws InterruptedException {
    return new String(run("--with-colons", "--list-keys", "=" + name), UTF_8)
        .lines()
        .filter(line -> line.startsWith("fpr:"))
        .findFirst()
        .orElseThrow()
        .split(":")[9];
  }

  byte[] export(String... fingerprints) throws InterruptedException {
    List<String> arguments = new ArrayList<>(List.of("--export"));
    arguments.addAll(List.of(fingerprints));
    return run(new byte[0], arguments);
  }

  byte[] exportArmoured(String fingerprint) throws InterruptedException {
    return run("--armor", "--export", fingerprint);
  }

  byte[] sign(String fingerprint, byte[] text, String... options) throws InterruptedException {
    List<String> arguments = new ArrayList<>(List.of(options));
    arguments.addAll(List.of("--local-user", fingerprint, "--sign"));
    return run(text, arguments);
  }

  @Override
  public void close() {
    try {
      var _ = start(List.of("/usr/bin/gpgconf", "--kill", "all"), new byte[0]);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    FileTree.delete(home);
  }
}
