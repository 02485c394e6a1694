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
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
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
    client = client("");
    hostFolder = Files.createDirectories(folder.resolve("reg.example"));
  }

  private RegistryClient client(String proxy) {
    return new RegistryClient(
        new RegistryHosts(folder),
        new CredentialFiles(List.of()),
        Proxies.of(proxy, List.of(), Map.of()),
        TransferSettings.DEFAULT,
        PartialBlobs.none());
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

  /** The certificate of an alias, from the store of its name. */
  private void export(String alias, Path file) throws Exception {
    keytool(
        "-exportcert -rfc -storepass changeit -alias "
            + alias
            + " -keystore "
            + folder.resolve(alias + ".p12")
            + " -file "
            + file);
  }

  private void configure(String line) throws Exception {
    Files.writeString(
        hostFolder.resolve("hosts.toml"),
        "server = \"https://" + registry.address() + "\"\n" + line + "\n");
  }

  private Digest resolve() throws InterruptedException {
    return resolve(client);
  }

  private static Digest resolve(RegistryClient asked) throws InterruptedException {
    return asked
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

    export("server", hostFolder.resolve("ca.pem"));
    configure("ca = \"ca.pem\"");
    assertThat(resolve()).isEqualTo(Digest.sha256(MANIFEST));
  }

  @Test
  void authorityThatIsReplacedCountsAtTheNextPull() throws Exception {
    Path authority = hostFolder.resolve("ca.pem");
    keytool(
        "-genkeypair -alias old -keyalg EC -dname CN=old -validity 2 -storetype PKCS12"
            + " -storepass changeit -keystore "
            + folder.resolve("old.p12"));
    export("old", authority);
    configure("ca = \"ca.pem\"");
    assertThatThrownBy(this::resolve).hasMessageContaining("TLS failed");

    export("server", authority);

    assertThat(resolve()).isEqualTo(Digest.sha256(MANIFEST));
  }

  @Test
  void skippedVerificationAcceptsAnyCertificate() throws Exception {
    configure("skip_verify = true");

    assertThat(resolve()).isEqualTo(Digest.sha256(MANIFEST));
  }

  @Test
  void brokenAuthorityFileIsNamedWithTheLineThatNamesIt() throws Exception {
    Files.writeString(hostFolder.resolve("ca.pem"), "-----BEGIN CERTIFICATE-----\nnonsense\n");
    configure("ca = \"ca.pem\"");

    assertThatThrownBy(this::resolve)
        .isInstanceOf(ImageException.class)
        .hasMessageContaining(
            hostFolder.resolve("ca.pem") + " (named in " + hostFolder.resolve("hosts.toml") + ":2)")
        .extracting(e -> ((ImageException) e).reason())
        .isEqualTo(Reason.CONFIGURATION);
  }

  @Test
  void tunnelOfAProxyIsMadeWithItsPasswordWhichTheRegistryDoesNotSee() throws Exception {
    Files.writeString(
        hostFolder.resolve("hosts.toml"), "server = \"https://reg.example\"\nskip_verify = true\n");
    String shown = "Basic " + Base64.getEncoder().encodeToString("me:pass word".getBytes(UTF_8));
    List<String> seen = new CopyOnWriteArrayList<>();
    registry.script =
        exchange -> {
          seen.addAll(exchange.getRequestHeaders().keySet());
          return false;
        };
    try (TunnelProxy proxy = new TunnelProxy(registry.address(), shown);
        RegistryClient through = client("http://me:pass%20word@" + proxy.address());
        RegistryClient refused = client("http://me:nonsense@" + proxy.address())) {

      assertThat(resolve(through)).isEqualTo(Digest.sha256(MANIFEST));
      assertThat(proxy.tunnels).isNotEmpty().containsOnly("reg.example:443");
      assertThat(seen).isNotEmpty().noneMatch("Proxy-Authorization"::equalsIgnoreCase);
      assertThatThrownBy(() -> resolve(refused))
          .isInstanceOf(ImageException.class)
          .hasMessageContaining("https://reg.example through the proxy http://" + proxy.address())
          .hasMessageContaining("HTTP 407")
          .hasMessageNotContaining("nonsense");
    }
  }

  @Test
  void clientCertificateIsShownToTheHostThatWantsOne() throws Exception {
    keytool(
        "-genkeypair -alias me -keyalg EC -dname CN=node -validity 2 -storetype PKCS12"
            + " -storepass changeit -keystore "
            + folder.resolve("me.p12"));
    KeyStore mine = KeyStore.getInstance("PKCS12");
    KeyStore servers = KeyStore.getInstance("PKCS12");
    try (InputStream me = Files.newInputStream(folder.resolve("me.p12"));
        InputStream server = Files.newInputStream(folder.resolve("server.p12"))) {
      mine.load(me, STORE_PASSWORD);
      servers.load(server, STORE_PASSWORD);
    }
    KeyManagerFactory managers =
        KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    managers.init(servers, STORE_PASSWORD);
    servers.setCertificateEntry("me", mine.getCertificate("me"));
    TrustManagerFactory trust =
        TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(servers);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(managers.getKeyManagers(), trust.getTrustManagers(), null);
    registry.close();
    registry = new ScriptedRegistry(context, true);
    registry.putManifest("app", "v1", MediaTypes.OCI_MANIFEST, MANIFEST);
    String certificate = pem("CERTIFICATE", mine.getCertificate("me").getEncoded());
    String key = pem("PRIVATE KEY", mine.getKey("me", STORE_PASSWORD).getEncoded());

    configure("skip_verify = true");
    assertThatThrownBy(this::resolve).isInstanceOf(ImageException.class);

    Files.writeString(hostFolder.resolve("me.cert"), certificate);
    Files.writeString(hostFolder.resolve("me.key"), key);
    configure("skip_verify = true\nclient = [[\"me.cert\", \"me.key\"]]");
    assertThat(resolve()).isEqualTo(Digest.sha256(MANIFEST));

    Files.writeString(hostFolder.resolve("both.pem"), key + certificate);
    configure("skip_verify = true\nclient = \"both.pem\"");
    assertThat(resolve()).isEqualTo(Digest.sha256(MANIFEST));

    configure("skip_verify = true\nclient = \"me.cert\"");
    assertThatThrownBy(this::resolve)
        .hasMessageContaining(hostFolder.resolve("me.cert").toString())
        .hasMessageContaining("BEGIN PRIVATE KEY");
  }

  private static String pem(String kind, byte[] content) {
    return "-----BEGIN "
        + kind
        + "-----\n"
        + Base64.getMimeEncoder().encodeToString(content)
        + "\n-----END "
        + kind
        + "-----\n";
  }
}
