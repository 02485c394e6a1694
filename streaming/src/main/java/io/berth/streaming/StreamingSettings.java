package io.berth.streaming;

import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;

/**
 * How the streaming server serves.
 *
 * @param address port 0 takes a free one
 * @param tls absent means plain HTTP
 * @param idleTimeout a session without a byte of its streams for so long is closed; pings are none
 * @param creationTimeout how long a client may take to open the streams that belong together
 * @param tokenLife how long a URL waits for its client
 * @param maxTokens how many URLs may wait at the same time
 */
public record StreamingSettings(
    InetSocketAddress address,
    Optional<TlsFiles> tls,
    Duration idleTimeout,
    Duration creationTimeout,
    Duration tokenLife,
    int maxTokens) {

  /**
   * PEM files, read again when they change.
   *
   * @param certificate the server's, followed by its chain
   * @param key PKCS#8, without a password
   */
  public record TlsFiles(Path certificate, Path key) {}
}
