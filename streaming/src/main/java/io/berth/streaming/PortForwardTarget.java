package io.berth.streaming;

import io.berth.linux.Fd;
import java.io.IOException;

/** The pod at the other end of a port-forward. */
public interface PortForwardTarget {
  /**
   * A connected, non-blocking TCP socket to {@code port} of the pod's own loopback; the caller owns
   * it. Called on a virtual thread, once for each connection.
   *
   * @param port 1 to 65535
   * @throws IOException with words for the person at the client
   */
  Fd connect(int port) throws IOException, InterruptedException;
}
