package io.berth.e2e;

import com.google.errorprone.annotations.MustBeClosed;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/**
 * A loopback port that leads to a server's, counts the bytes that come back from it, and lets no
 * more through than it is told.
 */
final class MeteredWire implements AutoCloseable {
  private static final int PIECE = 16 << 10;

  /** What passes in a second when it is slow comes in this many pieces. */
  private static final int STEPS = 20;

  private final InetSocketAddress target;
  private final ServerSocket listener;
  private final Set<Socket> sockets = ConcurrentHashMap.newKeySet();
  private long passed; // guarded by this
  private long limit = Long.MAX_VALUE; // likewise
  private int pace; // bytes per second, likewise; 0 for as fast as it goes

  /**
   * @param address host and port of the server
   */
  @MustBeClosed
  MeteredWire(String address) throws IOException {
    int colon = address.lastIndexOf(':');
    target =
        new InetSocketAddress(
            address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)));
    listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    Thread.ofVirtual().name("wire").start(this::accept);
  }

  /** Host and port to be used instead of the server's. */
  String address() {
    return "127.0.0.1:" + listener.getLocalPort();
  }

  /** Bytes that came back in all. */
  synchronized long passed() {
    return passed;
  }

  /** From now on, no byte beyond this many in all. */
  synchronized void letPass(long bytes) {
    limit = bytes;
    notifyAll();
  }

  /** From now on, no more bytes per second than this on each connection. */
  synchronized void slowDown(int bytesPerSecond) {
    pace = bytesPerSecond;
  }

  private void accept() {
    try {
      while (true) {
        Socket client = listener.accept();
        sockets.add(client);
        Socket server = new Socket();
        sockets.add(server);
        server.connect(target);
        Thread.ofVirtual().start(() -> pump(client, server, false));
        Thread.ofVirtual().start(() -> pump(server, client, true));
      }
    } catch (IOException e) {
      // Closed.
    }
  }

  private void pump(Socket from, Socket to, boolean metered) {
    try (from;
        to) {
      InputStream in = from.getInputStream();
      OutputStream out = to.getOutputStream();
      byte[] buffer = new byte[PIECE];
      for (int read = in.read(buffer); read > 0; read = in.read(buffer)) {
        for (int at = 0; at < read; ) {
          int piece = metered ? take(read - at) : read - at;
          out.write(buffer, at, piece);
          at += piece;
        }
      }
    } catch (IOException e) {
      // One end has gone, and now the other has, too.
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private synchronized int take(int wanted) throws InterruptedException {
    while (passed >= limit) {
      wait();
    }
    int piece = (int) Math.min(wanted, limit - passed);
    if (pace > 0) {
      piece = Math.min(piece, Math.max(1, pace / STEPS));
      long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(piece) / pace;
      for (long left = until - System.nanoTime(); left > 0; left = until - System.nanoTime()) {
        wait(left / 1_000_000, (int) (left % 1_000_000)); // others may pass meanwhile
      }
    }
    passed += piece;
    return piece;
  }

  @Override
  public void close() throws IOException {
    listener.close();
    for (Socket socket : sockets) {
      socket.close();
    }
    letPass(Long.MAX_VALUE);
  }
}
