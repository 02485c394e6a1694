package io.berth.image;

import java.net.URI;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A place to ask for a registry's content: a mirror or the registry itself.
 *
 * @param root everything is beneath it, ends in {@code /v2} unless the configuration overrides it
 * @param mirror true when it isn't the registry itself, and so gets no credentials by default
 * @param connection how it is reached
 * @param headers sent along with every request to this very host
 * @param source where it was configured, for example {@code
 *     /etc/berth/certs.d/quay.io/hosts.toml:3}
 */
record RegistryHost(
    URI root,
    boolean mirror,
    Set<Capability> capabilities,
    Connection connection,
    Map<String, String> headers,
    String source) {

  /** What a host is trusted with. */
  enum Capability {
    /** To say which digest a tag stands for. */
    RESOLVE,
    /** To deliver content by digest. */
    PULL
  }

  /**
   * How to connect, and whom to trust.
   *
   * @param authorities files of certificates besides the system's, with their time of change so
   *     that a changed file makes a new connection
   * @param clients what to show a host that asks for a certificate
   * @param dialTimeout until a connection stands, null for what holds for all hosts
   */
  record Connection(
      boolean skipVerify,
      List<PemFile> authorities,
      List<ClientFiles> clients,
      @Nullable Duration dialTimeout) {
    static final Connection PLAIN = new Connection(false, List.of(), List.of(), null);
  }

  /**
   * A client's certificate and its key, which may be in one file; PEM, the key in PKCS#8 without a
   * password.
   */
  record ClientFiles(PemFile certificate, PemFile key) {}

  /**
   * A file of certificates or a key.
   *
   * @param source where it was named, for example {@code /etc/berth/certs.d/quay.io/hosts.toml:4}
   */
  record PemFile(Path path, FileTime modified, String source) {
    @Override
    public String toString() {
      return path + " (named in " + source + ")";
    }
  }

  /** Scheme, host and port: how messages name it. */
  String origin() {
    return root.getScheme() + "://" + root.getRawAuthority();
  }
}
