package io.berth.image;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * An HTTP proxy on a free loopback port that makes tunnels (RFC 9110, 9.3.6) for those who show the
 * right authorization. All of them lead to one server, whatever host was asked for.
 */
final class TunnelProxy implements AutoCloseable {
  private final InetSocketAddress target;
  private final String authorization;
  private final ServerSocket listener;
  private final Set<Socket> sockets = ConcurrentHashMap.newKeySet();

  /** Hosts and ports of the tunnels that were made. */
  final List<String> tunnels = new CopyOnWriteArrayList<>();

  /**
   * @param address host and port of the server
   * @param authorization the header's value to be shown
   */
  TunnelProxy(String address, String authorization) throws IOException {
    int colon = address.lastIndexOf(':');
    target =
        new InetSocketAddress(
            address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)));
    this.authorization = authorization;
    listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    Thread.ofVirtual().name("proxy").start(this::accept);
  }

  String address() {
    return "127.0.0.1:" + listener.getLocalPort();
  }

  private void accept() {
    try {
      while (true) {
        Socket client = listener.accept();
        sockets.add(client);
        Thread.ofVirtual().start(() -> serve(client));
      }
    } catch (IOException e) {
      // Closed.
    }
  }

  private void serve(Socket client) {
    try (client) {
      while (true) {
        List<String> head = head(client.getInputStream());
        OutputStream out = client.getOutputStream();
        if (!head.contains("proxy-authorization: " + authorization)
            && !head.contains("Proxy-Authorization: " + authorization)) {
          out.write(
              """
              HTTP/1.1 407 Who are you\r
              Proxy-Authenticate: Basic realm="proxy"\r
              Content-Length: 0\r
              \r
              """
                  .getBytes(US_ASCII));
          continue;
        }
        tunnels.add(head.getFirst().split(" ", -1)[1]);
        try (Socket server = new Socket()) {
          sockets.add(server);
          server.connect(target);
          out.write("HTTP/1.1 200 Connected\r\n\r\n".getBytes(US_ASCII));
          Thread.ofVirtual().start(() -> pump(server, client));
          pump(client, server);
        }
        return;
      }
    } catch (IOException e) {
      // One of the sides has gone.
    }
  }

  /** The lines up to the empty one. */
  private static List<String> head(InputStream in) throws IOException {
    ByteArrayOutputStream head = new ByteArrayOutputStream();
    while (!head.toString(US_ASCII).endsWith("\r\n\r\n")) {
      int next = in.read();
      if (next < 0) {
        throw new IOException("the client has gone");
      }
      head.write(next);
    }
    return List.of(head.toString(US_ASCII).split("\r\n"));
  }

  private static void pump(Socket from, Socket to) {
    try {
      from.getInputStream().transferTo(to.getOutputStream());
      to.shutdownOutput();
    } catch (IOException e) {
      // One of the sides has gone.
    }
  }

  @Override
  public void close() throws IOException {
    listener.close();
    for (Socket socket : sockets) {
      socket.close();
    }
  }
}
