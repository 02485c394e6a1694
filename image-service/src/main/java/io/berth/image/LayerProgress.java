package io.berth.image;

import io.berth.image.PullStatus.LayerState;
import io.berth.image.PullStatus.LayerStatus;
import io.berth.oci.Descriptor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;

/**
 * How far one layer is. Written by whoever brings it, read by anyone; all pulls that want the layer
 * show the same.
 */
final class LayerProgress {
  private static final long INTERVAL = TimeUnit.SECONDS.toNanos(1);

  private final Descriptor blob;
  private final LongAdder total;
  int pulls; // that show it; guarded by the PullBoard

  private LayerState state; // guarded by this, as all below
  private String host = "";
  private long fetched;
  private long mark = System.nanoTime(); // when the rate was computed
  private long sinceMark; // bytes
  private double rate; // bytes per second

  /**
   * @param total counts the bytes of all layers
   */
  LayerProgress(Descriptor blob, LayerState state, LongAdder total) {
    this.blob = blob;
    this.state = state;
    this.total = total;
  }

  /** A connection to a host stands, and what comes begins at this byte. */
  synchronized void from(String origin, long position) {
    state = LayerState.FETCHING;
    host = origin;
    fetched = position;
    mark = System.nanoTime();
    sinceMark = 0;
  }

  /** Content has come from the host. */
  synchronized void came(int bytes) {
    fetched += bytes;
    sinceMark += bytes;
    total.add(bytes);
    long now = System.nanoTime();
    if (now - mark >= INTERVAL) {
      rate = rate(now);
      mark = now;
      sinceMark = 0;
    }
  }

  /** The new rate counts half, so that the figure is calm and yet current. */
  private double rate(long now) {
    double latest = sinceMark * (double) TimeUnit.SECONDS.toNanos(1) / Math.max(1, now - mark);
    return rate == 0 ? latest : (rate + latest) / 2;
  }

  /** What was kept of another transfer is read again. */
  synchronized void resumed(long position) {
    state = LayerState.FETCHING;
    fetched = position;
  }

  synchronized void waiting() {
    state = LayerState.WAITING;
    host = "";
    fetched = 0;
    rate = 0;
  }

  /** All of it has come. */
  synchronized void storing() {
    state = LayerState.STORING;
    rate = 0;
  }

  synchronized void done() {
    state = LayerState.DONE;
    rate = 0;
  }

  synchronized LayerStatus status() {
    long now = System.nanoTime();
    boolean fetching = state == LayerState.FETCHING;
    double current = fetching && now - mark >= INTERVAL ? rate(now) : rate;
    return new LayerStatus(
        blob.digest(), blob.size(), fetched, state, host, fetching ? (long) current : 0);
  }
}
