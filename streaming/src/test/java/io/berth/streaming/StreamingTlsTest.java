package io.berth.streaming;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.security.KeyStore;
import java.security.SecureRandom;
import java.security.cert.X509Certificate;
import java.util.Base64;
import java.util.Optional;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedTrustManager;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(240)
class StreamingTlsTest {
  private static final String PASSWORD = "password";

  @TempDir Path folder;
  private StreamingSettings.TlsFiles files;

  @BeforeEach
  void certificate() throws Exception {
    files =
        new StreamingSettings.TlsFiles(folder.resolve("server.crt"), folder.resolve("server.key"));
    writePair("first");
  }

  /** With the JDK's keytool, as the JDK has no way from a program to sign a certificate. */
  private void writePair(String name) throws Exception {
    Path store = folder.resolve(name + ".p12");
    Process keytool =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin/keytool").toString(),
                "-genkeypair",
                "-keyalg",
                "EC",
                "-alias",
                "server",
                "-dname",
                "CN=" + name,
                "-storetype",
                "PKCS12",
                "-storepass",
                PASSWORD,
                "-keystore",
                store.toString())
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start();
    assertThat(keytool.waitFor()).isZero();
    KeyStore loaded = KeyStore.getInstance(store.toFile(), PASSWORD.toCharArray());
    Files.writeString(
        files.certificate(), pem("CERTIFICATE", loaded.getCertificate("server").getEncoded()));
    Files.writeString(
        files.key(),
        pem("PRIVATE KEY", loaded.getKey("server", PASSWORD.toCharArray()).getEncoded()));
  }

  private static String pem(String type, byte[] der) {
    return "-----BEGIN %s-----\n%s\n-----END %s-----\n"
        .formatted(type, Base64.getMimeEncoder().encodeToString(der), type);
  }

  private StreamingServer server() {
    return new StreamingServer(
        TestSettings.at(
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), Optional.of(files)));
  }

  /** Trusts everyone, and looks at the certificate itself. */
  private static final class Anyone extends X509ExtendedTrustManager {
    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type) {}

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type) {}

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket) {}

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type, Socket socket) {}

    @Override
    public void checkClientTrusted(
        X509Certificate[] chain, String type, javax.net.ssl.SSLEngine engine) {}

    @Override
    public void checkServerTrusted(
        X509Certificate[] chain, String type, javax.net.ssl.SSLEngine engine) {}

    @Override
    public X509Certificate[] getAcceptedIssuers() {
      return new X509Certificate[0];
    }
  }

  private static SSLSocket connect(URI url) throws Exception {
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, new TrustManager[] {new Anyone()}, new SecureRandom());
    return (SSLSocket) context.getSocketFactory().createSocket(url.getHost(), url.getPort());
  }

  private static String subject(StreamingServer server) throws Exception {
    String url = server.exec(new CommandRequest(false, true, false, false, _ -> done()));
    try (SSLSocket socket = connect(URI.create(url))) {
      socket.startHandshake();
      return ((X509Certificate) socket.getSession().getPeerCertificates()[0])
          .getSubjectX500Principal()
          .getName();
    }
  }

  private static CommandResult done() {
    return new CommandResult.Exited(0);
  }

  @Test
  void aSessionRunsOverTlsToItsLastByte() throws Exception {
    byte[] much = new byte[3 << 20];
    CommandTarget target =
        streams -> {
          try {
            streams.stdout().orElseThrow().write(much);
          } catch (IOException gone) {
            return new CommandResult.Failed("gone");
          }
          return done();
        };
    try (StreamingServer server = server()) {
      String url = server.exec(new CommandRequest(false, true, false, false, target));
      assertThat(url).startsWith("https://127.0.0.1:");
      URI address = URI.create(url);
      try (var client =
          new SpdyClient(new HttpClientSocket(address, connect(address)), "v4.channel.k8s.io")) {
        int error = client.open("streamType", "error");
        int stdout = client.open("streamType", "stdout");
        client.readToEnd(error);
        assertThat(client.size(stdout)).isEqualTo(much.length);
        assertThat(client.text(error)).isEqualTo("{\"status\":\"Success\"}");
      }
    }
  }

  @Test
  void aNewCertificateIsUsedFromTheNextConnectionOnAndABrokenOneIsNot() throws Exception {
    try (StreamingServer server = server()) {
      assertThat(subject(server)).isEqualTo("CN=first");
      writePair("second");
      // File systems may have coarse times.
      Files.setLastModifiedTime(files.key(), FileTime.fromMillis(2_000_000_000_000L));
      assertThat(subject(server)).isEqualTo("CN=second");
      Files.writeString(files.key(), "half writt");
      assertThat(subject(server)).isEqualTo("CN=second");
      writePair("third");
      Files.setLastModifiedTime(files.key(), FileTime.fromMillis(2_000_000_001_000L));
      assertThat(subject(server)).isEqualTo("CN=third");
    }
  }

  @Test
  void aCertificateThatCannotBeReadIsSaidAtOnce() throws IOException {
    Files.delete(files.key());
    try (StreamingServer server = server()) {
      assertThat(catchThrowableOfType(StreamingException.class, server::listen))
          .hasMessageContaining("server.key")
          .hasMessageContaining("PKCS#8")
          .extracting(StreamingException::reason)
          .isEqualTo(StreamingException.Reason.UNAVAILABLE);
    }
  }
}
