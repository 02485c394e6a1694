package io.berth.image;

import io.berth.oci.Descriptor;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A blob's content from whichever host delivers it, not verified: first what an earlier transfer
 * has left, then from there on what hosts send. A connection that breaks is made again and goes on
 * at the byte where it stopped; a host that stalls or refuses is left for the next one, which goes
 * on there too. So the reader sees one stream, and unpacks it once.
 *
 * <p>Reading throws the {@link ImageException} of the last host when none is left.
 */
final class BlobTransfer extends InputStream {
  private static final Logger log = LoggerFactory.getLogger(BlobTransfer.class);

  /** A connection that brought this much, in bytes, was worth it. */
  private static final long WORTH = 16 << 10;

  private final Descriptor blob;
  private final List<RegistryEndpoint> hosts;
  private final TransferSettings settings;
  private final PartialBlobs.Partial partial;
  private final LayerProgress progress;
  private final List<String> earlier = new ArrayList<>();
  private long position;
  private int host;
  private int barren; // connections to this host in a row that weren't worth it
  private long openedAt;
  private @Nullable InputStream body;

  /**
   * @param hosts in the order to ask, at least one
   * @param partial closed with this
   */
  BlobTransfer(
      Descriptor blob,
      List<RegistryEndpoint> hosts,
      TransferSettings settings,
      PartialBlobs.Partial partial,
      LayerProgress progress) {
    this.blob = blob;
    this.hosts = hosts;
    this.settings = settings;
    this.partial = partial;
    this.progress = progress;
  }

  @Override
  public int read() throws IOException {
    byte[] one = new byte[1];
    return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
  }

  @Override
  public int read(byte[] buffer, int offset, int length) throws IOException {
    if (position < partial.kept()) {
      int most = (int) Math.min(length, partial.kept() - position);
      int read = partial.read(buffer, offset, most);
      if (read < 0) {
        throw new IOException("what was kept of " + blob.digest() + " has become shorter");
      }
      position += read;
      progress.resumed(position);
      return read;
    }
    if (position == partial.kept() && position == blob.size()) {
      return -1; // all of it was kept, and the daemon killed before the layer was on disk
    }
    try {
      while (true) {
        try {
          int read = body().read(buffer, offset, length);
          if (read > 0) {
            position += read;
            progress.came(read);
            partial.append(buffer, offset, read);
          }
          return read;
        } catch (ImageException e) {
          recover(e);
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted while fetching " + blob.digest());
    }
  }

  @SuppressWarnings("MustBeClosedChecker") // closed with this
  private InputStream body() throws InterruptedException {
    InputStream current = body;
    if (current == null) {
      current = hosts.get(host).blob(blob, position);
      body = current;
      openedAt = position;
      progress.from(hosts.get(host).toString(), position);
    }
    return current;
  }

  /** Makes ready for another try. */
  private void recover(ImageException failure) throws InterruptedException {
    boolean opened = body != null;
    closeBody();
    boolean stalled = failure.getCause() instanceof StallGuard.StalledException;
    boolean last = host == hosts.size() - 1;
    barren = opened && position - openedAt >= WORTH ? 0 : barren + 1;
    // A request that got no answer was repeated by the client already.
    if (opened && !(stalled && !last) && barren <= settings.retries()) {
      log.info("{}; going on at byte {} of {}", failure.words(), position, blob.size());
      Thread.sleep(settings.backoff().multipliedBy(barren));
      return;
    }
    if (last) {
      throw earlier.isEmpty()
          ? failure
          : new ImageException(
              failure.reason(),
              failure.getMessage() + "; before that: " + String.join("; ", earlier),
              failure);
    }
    earlier.add(failure.words());
    if (failure.reason() == ImageException.Reason.REGISTRY_UNAVAILABLE) {
      hosts.get(host).failed();
    }
    host++;
    barren = 0;
    log.warn(
        "{}; going on at byte {} of {} from {}",
        failure.words(),
        position,
        blob.size(),
        hosts.get(host));
  }

  private void closeBody() {
    if (body != null) {
      RegistryClient.closeQuietly(body);
      body = null;
    }
  }

  @Override
  public void close() {
    closeBody();
    partial.close();
  }
}
