package io.berth.sandbox;

/// A port of the machine led to a port of the pod.
///
/// @param hostPort 0 or less: not published at all
/// @param hostIp the address to listen on; empty means all
public record PortMapping(Protocol protocol, int containerPort, int hostPort, String hostIp) {
  /// The protocols CRI names.
  public enum Protocol {
    TCP,
    UDP,
    SCTP
  }

  public PortMapping {
    hostIp = Copies.of(hostIp);
  }
}
