package io.berth.image;

import io.berth.oci.Digest;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;

/**
 * How far a pull is.
 *
 * @param image the full reference
 * @param layers bottom first; none before the manifest is known
 */
public record PullStatus(String image, Instant startedAt, List<LayerStatus> layers) {

  /** Where a layer is on its way. */
  public enum LayerState {
    /** It was here before. */
    PRESENT,
    /** For its turn: the number of layers at a time is limited. */
    WAITING,
    /** It comes, and is unpacked as it comes. */
    FETCHING,
    /** It is unpacked, and waits for the layers below and the disk. */
    STORING,
    DONE
  }

  /**
   * One layer.
   *
   * @param size in bytes, as stored in the registry
   * @param fetched in bytes, of these; what an earlier pull had left included
   * @param host the origin it comes from, or came from; "" before
   * @param rate in bytes per second; 0 unless it is being fetched
   */
  public record LayerStatus(
      Digest blob, long size, long fetched, LayerState state, String host, long rate) {}

  /** Bytes that must come, all in all. */
  public long size() {
    return layers.stream()
        .filter(layer -> layer.state() != LayerState.PRESENT)
        .mapToLong(LayerStatus::size)
        .sum();
  }

  /** Bytes that have come. */
  public long fetched() {
    return layers.stream().mapToLong(LayerStatus::fetched).sum();
  }

  /** Bytes per second. */
  public long rate() {
    return layers.stream().mapToLong(LayerStatus::rate).sum();
  }

  /** Until everything has come, at the present rate; empty when nothing comes. */
  public Optional<Duration> remaining() {
    long rate = rate();
    return rate == 0
        ? Optional.empty()
        : Optional.of(Duration.ofSeconds(Math.ceilDiv(Math.max(0, size() - fetched()), rate)));
  }
}
