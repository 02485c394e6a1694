package io.berth.streaming;

import io.netty.buffer.Unpooled;
import java.util.List;

/**
 * The port-forward protocol over WebSocket channels: one connection for each port of the request,
 * with channel 2n for its data and 2n+1 for its error, each of which begins with the port in two
 * bytes, the low one first.
 */
final class WebSocketPorts implements WebSocketChannels.Listener {
  private final List<Integer> ports;
  private final Forwarder forwarder;
  private int open;

  WebSocketPorts(List<Integer> ports, Forwarder forwarder) {
    this.ports = ports;
    this.forwarder = forwarder;
    this.open = ports.size();
  }

  @Override
  public void connected(WebSocketChannels channels) {
    Link link = channels.link();
    link.watchIdle(link::close);
    for (int i = 0; i < ports.size(); i++) {
      int port = ports.get(i);
      var data = channels.open(2 * i);
      var error = channels.open(2 * i + 1);
      data.send(Unpooled.buffer(2).writeShortLE(port));
      error.send(Unpooled.buffer(2).writeShortLE(port));
      var forwarding =
          new Forwarding(
              data,
              port,
              forwarder,
              link,
              _ -> {
                // A channel can't be closed alone, so the client is told when the last one ends.
                if (--open == 0) {
                  channels.close(data.end());
                }
              });
      data.begin(forwarding);
      forwarding.start(error);
    }
  }

  @Override
  public void disconnected() {
    // Each data channel has been reset already, and with it the pod's side.
  }
}
