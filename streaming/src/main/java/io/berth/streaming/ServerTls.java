package io.berth.streaming;

import io.netty.buffer.ByteBufAllocator;
import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.handler.ssl.SslHandler;
import io.netty.handler.ssl.SslProvider;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.attribute.FileTime;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The server's certificate, read again when its files have changed. A pair that can't be used (the
 * two are seldom replaced at the same instant) leaves the earlier one in force. On the event loop.
 */
final class ServerTls {
  private static final Logger log = LoggerFactory.getLogger(ServerTls.class);

  private final StreamingSettings.TlsFiles files;
  private Stamp stamp;
  private SslContext context;

  private record Stamp(FileTime certificate, FileTime key) {}

  /**
   * @throws StreamingException UNAVAILABLE when the files can't be used
   */
  ServerTls(StreamingSettings.TlsFiles files) {
    this.files = files;
    try {
      stamp = stamp();
      context = read();
    } catch (IOException | IllegalArgumentException failure) {
      throw new StreamingException(
          StreamingException.Reason.UNAVAILABLE, words(failure.toString()), failure);
    }
  }

  SslHandler handler(ByteBufAllocator allocator) {
    try {
      Stamp now = stamp();
      if (!now.equals(stamp)) {
        stamp = now; // a pair that can't be used is complained of once
        context = read();
        log.info("streaming uses the new certificate {}", files.certificate());
      }
    } catch (IOException | IllegalArgumentException failure) {
      log.warn("{}; the earlier certificate stays in use", words(failure.toString()));
    }
    return context.newHandler(allocator);
  }

  private Stamp stamp() throws IOException {
    return new Stamp(
        Files.getLastModifiedTime(files.certificate()), Files.getLastModifiedTime(files.key()));
  }

  /** Without ALPN: the upgrades exist in HTTP/1.1 alone. */
  private SslContext read() throws IOException {
    return SslContextBuilder.forServer(files.certificate().toFile(), files.key().toFile())
        .sslProvider(SslProvider.JDK)
        .build();
  }

  private String words(String cause) {
    return "read the certificate %s with the key %s: %s; the key must be PKCS#8 in PEM, see openssl-pkcs8(1)"
        .formatted(files.certificate(), files.key(), cause);
  }
}
