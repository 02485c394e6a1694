package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.image.ImageException.Reason;
import io.berth.oci.Digest;
import io.berth.oci.ImageReference;
import io.berth.oci.MediaTypes;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.util.List;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A registry with a certificate that no authority of the machine has signed. */
@Timeout(60)
class RegistryTlsTest {
  private static final byte[] MANIFEST = "{\"schemaVersion\":2}".getBytes(UTF_8);
  private static final char[] STORE_PASSWORD = "changeit".toCharArray();

  @TempDir private Path folder;
  private ScriptedRegistry registry;
  private RegistryClient client;
  private Path hostFolder;

  @BeforeEach
  void open() throws Exception {
    Path store = folder.resolve("server.p12");
    keytool(
        "-genkeypair -alias server -keyalg EC -dname CN=test -validity 2 -storetype PKCS12"
            + " -ext san=ip:127.0.0.1 -storepass changeit -keystore "
            + store);
    KeyStore keys = KeyStore.getInstance("PKCS12");
    try (InputStream in = Files.newInputStream(store)) {
      keys.load(in, STORE_PASSWORD);
    }
    KeyManagerFactory managers =
        KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    managers.init(keys, STORE_PASSWORD);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(managers.getKeyManagers(), null, null);
    registry = new ScriptedRegistry(context);
    registry.putManifest("app", "v1", MediaTypes.OCI_MANIFEST, MANIFEST);
    client =
        new RegistryClient(
            new RegistryHosts(folder), TransferSettings.DEFAULT, PartialBlobs.none());
    hostFolder = Files.createDirectories(folder.resolve("reg.example"));
  }

  @AfterEach
  void close() {
    client.close();
    registry.close();
  }

  private static void keytool(String arguments) throws Exception {
    List<String> command = new java.util.ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "keytool").toString());
    command.addAll(List.of(arguments.split(" ", -1)));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), UTF_8);
    assertThat(process.waitFor()).as(output).isZero();
  }

  private void configure(String line) throws Exception {
    Files.writeString(
        hostFolder.resolve("hosts.toml"),
        "server = \"https://" + registry.address() + "\"\n" + line + "\n");
  }

  private Digest resolve() throws InterruptedException {
    return client
        .open(ImageReference.parse("reg.example/app:v1"), RegistryCredentials.NONE)
        .resolve()
        .digest();
  }

  @Test
  void certificateIsTrustedOnceItsAuthorityIsConfigured() throws Exception {
    configure("");
    assertThatThrownBy(this::resolve)
        .isInstanceOf(ImageException.class)
        .hasMessageContaining("TLS failed")
        .extracting(e -> ((ImageException) e).reason())
        .isEqualTo(Reason.REGISTRY_UNAVAILABLE);

    keytool(
        "-exportcert -rfc -alias server -storepass changeit -keystore "
            + folder.resolve("server.p12")
            + " -file "
            + hostFolder.resolve("ca.pem"));
    configure("ca = \"ca.pem\"");
    assertThat(resolve()).isEqualTo(Digest.sha256(MANIFEST));
  }

  @Test
  void skippedVerificationAcceptsAnyCertificate() throws Exception {
    configure("skip_verify = true");

    assertThat(resolve()).isEqualTo(Digest.sha256(MANIFEST));
  }

  @Test
  void brokenAuthorityFileIsNamed() throws Exception {
    Files.writeString(hostFolder.resolve("ca.pem"), "-----BEGIN CERTIFICATE-----\nnonsense\n");
    configure("ca = \"ca.pem\"");

    assertThatThrownBy(this::resolve)
        .isInstanceOf(ImageException.class)
        .hasMessageContaining(hostFolder.resolve("ca.pem").toString())
        .extracting(e -> ((ImageException) e).reason())
        .isEqualTo(Reason.CONFIGURATION);
  }
}
