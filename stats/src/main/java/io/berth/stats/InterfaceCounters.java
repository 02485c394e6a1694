package io.berth.stats;

/** What has gone through a network interface since it was made, netdevice statistics of proc(5). */
public record InterfaceCounters(String name, Direction received, Direction transmitted) {

  /** One of the two directions. */
  public record Direction(long bytes, long packets, long errors, long dropped) {}
}
