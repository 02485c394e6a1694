package io.berth.image;

import java.time.Duration;

/**
 * How patient transfers are, and how persistent.
 *
 * @param connect until a connection stands
 * @param answer until the head of an answer is there
 * @param stallTime a transfer that brings less than {@code stallFloor} over this time has stalled;
 *     zero waits for ever
 * @param stallFloor in bytes per second
 * @param retries how often a request is sent again after a failure that may pass
 * @param backoff the first pause where a host doesn't say how long to wait; each further one is
 *     twice as long
 * @param patience the longest a request waits for a host that asks for a pause
 * @param perRegistry how many layers are transferred at once from one registry
 */
public record TransferSettings(
    Duration connect,
    Duration answer,
    Duration stallTime,
    long stallFloor,
    int retries,
    Duration backoff,
    Duration patience,
    int perRegistry) {

  public static final TransferSettings DEFAULT =
      new TransferSettings(
          Duration.ofSeconds(30),
          Duration.ofSeconds(60),
          Duration.ofSeconds(10),
          10 << 10,
          5,
          Duration.ofSeconds(1),
          Duration.ofMinutes(1),
          3);
}
