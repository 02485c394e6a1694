package io.berth.image;

import static java.nio.charset.StandardCharsets.US_ASCII;

import io.berth.image.ImageException.Reason;
import io.berth.image.RegistryHost.ClientFiles;
import io.berth.image.RegistryHost.Connection;
import io.berth.image.RegistryHost.PemFile;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedTrustManager;
import javax.net.ssl.X509TrustManager;

/** Whom a TLS connection trusts, and what it shows of itself. */
final class TlsContexts {

  /** The authorities of the machine's administrator, which a JDK of its own doesn't know. */
  private static final Path SYSTEM_BUNDLE = Path.of("/etc/ssl/certs/ca-certificates.crt");

  private static final Pattern CERTIFICATE =
      Pattern.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", Pattern.DOTALL);
  private static final Pattern PRIVATE_KEY =
      Pattern.compile("-----BEGIN PRIVATE KEY-----(.*?)-----END PRIVATE KEY-----", Pattern.DOTALL);

  private TlsContexts() {}

  /**
   * Trusts the JDK's authorities, the system's and the given ones, or everyone.
   *
   * @throws ImageException CONFIGURATION if one of them can't be used
   */
  static SSLContext of(Connection connection) {
    try {
      TrustManager[] trust =
          connection.skipVerify()
              ? new TrustManager[] {new TrustEveryone()}
              : trusting(connection.authorities());
      KeyManager[] keys = connection.clients().isEmpty() ? null : keys(connection.clients());
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(keys, trust, null);
      return context;
    } catch (GeneralSecurityException | IOException e) {
      throw new ImageException(
          Reason.CONFIGURATION,
          "cannot set up TLS with authorities " + connection.authorities(),
          e);
    }
  }

  private static KeyManager[] keys(List<ClientFiles> clients)
      throws GeneralSecurityException, IOException {
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, null);
    char[] password = new char[0];
    for (ClientFiles client : clients) {
      PemFile file = client.certificate();
      try (InputStream in = Files.newInputStream(file.path())) {
        Certificate[] chain =
            CertificateFactory.getInstance("X.509")
                .generateCertificates(certificates(in))
                .toArray(Certificate[]::new);
        if (chain.length == 0) {
          throw new GeneralSecurityException("there is no certificate in it");
        }
        file = client.key();
        PrivateKey key = key(Files.readString(file.path()), chain[0].getPublicKey().getAlgorithm());
        store.setKeyEntry("client-" + store.size(), key, password, chain);
      } catch (IOException | GeneralSecurityException | IllegalArgumentException e) {
        throw new ImageException(
            Reason.CONFIGURATION,
            "client certificate file " + file + " can't be used: " + e.getMessage(),
            e);
      }
    }
    KeyManagerFactory factory =
        KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    factory.init(store, password);
    return factory.getKeyManagers();
  }

  /** Without the key, which may stand in the same file. */
  private static InputStream certificates(InputStream pem) throws IOException {
    StringBuilder found = new StringBuilder();
    Matcher blocks = CERTIFICATE.matcher(new String(pem.readAllBytes(), US_ASCII));
    while (blocks.find()) {
      found.append(blocks.group()).append('\n');
    }
    return new ByteArrayInputStream(found.toString().getBytes(US_ASCII));
  }

  private static PrivateKey key(String pem, String algorithm) throws GeneralSecurityException {
    Matcher block = PRIVATE_KEY.matcher(pem);
    if (!block.find()) {
      throw new GeneralSecurityException(
          "there is no \"BEGIN PRIVATE KEY\" in it; openssl pkcs8 -topk8 -nocrypt makes one of"
              + " another form");
    }
    byte[] encoded = Base64.getMimeDecoder().decode(block.group(1));
    return KeyFactory.getInstance(algorithm).generatePrivate(new PKCS8EncodedKeySpec(encoded));
  }

  private static TrustManager[] trusting(List<PemFile> authorities)
      throws GeneralSecurityException, IOException {
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, null);
    for (TrustManager manager : managers(null)) {
      if (manager instanceof X509TrustManager x509) {
        for (X509Certificate certificate : x509.getAcceptedIssuers()) {
          add(store, certificate);
        }
      }
    }
    if (Files.isReadable(SYSTEM_BUNDLE)) {
      addAll(store, SYSTEM_BUNDLE, SYSTEM_BUNDLE);
    }
    for (PemFile file : authorities) {
      addAll(store, file.path(), file);
    }
    return managers(store);
  }

  @SuppressWarnings("NullAway") // TrustManagerFactory.init(null) means the JDK's own store
  private static TrustManager[] managers(@org.jspecify.annotations.Nullable KeyStore store)
      throws GeneralSecurityException {
    TrustManagerFactory factory =
        TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    factory.init(store);
    return factory.getTrustManagers();
  }

  private static void addAll(KeyStore store, Path file, Object shown)
      throws GeneralSecurityException {
    try (InputStream in = Files.newInputStream(file)) {
      for (Certificate certificate :
          CertificateFactory.getInstance("X.509").generateCertificates(in)) {
        add(store, certificate);
      }
    } catch (IOException | GeneralSecurityException e) {
      throw new ImageException(
          Reason.CONFIGURATION,
          "certificate file " + shown + " can't be used: " + e.getMessage(),
          e);
    }
  }

  private static void add(KeyStore store, Certificate certificate) throws GeneralSecurityException {
    store.setCertificateEntry("ca-" + store.size(), certificate);
  }

  /**
   * For {@code skip_verify}. Being an extended trust manager it also replaces the check of the host
   * name, which the JDK leaves to the trust manager.
   */
  private static final class TrustEveryone extends X509ExtendedTrustManager {
    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type) {}

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket) {}

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine) {}

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type) {}

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type, Socket socket) {}

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type, SSLEngine engine) {}

    @Override
    public X509Certificate[] getAcceptedIssuers() {
      return new X509Certificate[0];
    }
  }
}
