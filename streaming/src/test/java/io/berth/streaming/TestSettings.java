package io.berth.streaming;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.Optional;

/** Settings of servers under test. */
final class TestSettings {
  private TestSettings() {}

  static StreamingSettings ordinary() {
    return with(Duration.ofHours(4), Duration.ofSeconds(30));
  }

  static StreamingSettings with(Duration idleTimeout, Duration creationTimeout) {
    return settings(
        new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
        Optional.empty(),
        idleTimeout,
        creationTimeout);
  }

  static StreamingSettings at(InetSocketAddress address, Optional<StreamingSettings.TlsFiles> tls) {
    return settings(address, tls, Duration.ofHours(4), Duration.ofSeconds(30));
  }

  private static StreamingSettings settings(
      InetSocketAddress address,
      Optional<StreamingSettings.TlsFiles> tls,
      Duration idleTimeout,
      Duration creationTimeout) {
    return new StreamingSettings(
        address, tls, idleTimeout, creationTimeout, Duration.ofMinutes(1), 1000);
  }
}
