package io.berth.streaming;

import java.util.List;

/**
 * What a port-forward asked for.
 *
 * @param ports 1 to 65535 each; only the old WebSocket form needs them, so the list may be empty
 *     <p>A {@link StreamingException} INVALID answers a port out of range
 */
public record PortForwardRequest(List<Integer> ports, PortForwardTarget target) {
  public PortForwardRequest {
    ports = List.copyOf(ports);
    for (int port : ports) {
      if (!isPort(port)) {
        throw new StreamingException(
            StreamingException.Reason.INVALID,
            "forward port " + port + ": ports are numbers from 1 to 65535");
      }
    }
  }

  static boolean isPort(int port) {
    return port >= 1 && port <= 65535;
  }
}
