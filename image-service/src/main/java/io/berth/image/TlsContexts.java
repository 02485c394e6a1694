package io.berth.image;

import io.berth.image.ImageException.Reason;
import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.List;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedTrustManager;
import javax.net.ssl.X509TrustManager;

/** Whom a TLS connection trusts. */
final class TlsContexts {

  /** The authorities of the machine's administrator, which a JDK of its own doesn't know. */
  private static final Path SYSTEM_BUNDLE = Path.of("/etc/ssl/certs/ca-certificates.crt");

  private TlsContexts() {}

  /**
   * Trusts the JDK's authorities, the system's and the given ones, or everyone.
   *
   * @param authorities PEM files of certificates
   * @throws ImageException CONFIGURATION if one of them can't be used
   */
  static SSLContext of(boolean skipVerify, List<Path> authorities) {
    try {
      TrustManager[] trust =
          skipVerify ? new TrustManager[] {new TrustEveryone()} : trusting(authorities);
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(null, trust, null);
      return context;
    } catch (GeneralSecurityException | IOException e) {
      throw new ImageException(
          Reason.CONFIGURATION, "cannot set up TLS with authorities " + authorities, e);
    }
  }

  private static TrustManager[] trusting(List<Path> authorities)
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
      addAll(store, SYSTEM_BUNDLE);
    }
    for (Path file : authorities) {
      addAll(store, file);
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

  private static void addAll(KeyStore store, Path file) throws GeneralSecurityException {
    try (InputStream in = Files.newInputStream(file)) {
      for (Certificate certificate :
          CertificateFactory.getInstance("X.509").generateCertificates(in)) {
        add(store, certificate);
      }
    } catch (IOException | GeneralSecurityException e) {
      throw new ImageException(
          Reason.CONFIGURATION,
          "certificate file " + file + " can't be used: " + e.getMessage(),
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
