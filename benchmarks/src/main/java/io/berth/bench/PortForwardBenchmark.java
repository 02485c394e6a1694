package io.berth.bench;

import io.berth.bench.BenchException.Reason;
import io.berth.linux.Namespaces;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Connections to a server of our own in the pod's network, forwarded by the runtime; the floor is a
 * connection to the pod's address by the same machine, without anyone in between.
 */
final class PortForwardBenchmark {
  private static final int WARM_UP = 3;
  private static final long BYTES = 512L << 20;
  private static final int PIECE = 64 << 10;

  /** Each channel of this protocol begins with the number of the port, in two bytes. */
  private static final String PROTOCOL = "v4.channel.k8s.io";

  private static final int PREFIX = 2;
  private static final int DATA = 0;

  private final CriClient client;
  private final PodLife life;

  /**
   * @param life of pods with a network of their own
   */
  PortForwardBenchmark(CriClient client, PodLife life) {
    this.client = client;
    this.life = life;
  }

  /** Both sides in turn, so that both meet the same machine. */
  MarkdownTable run(int times) throws IOException, InterruptedException {
    PodLife.Running pod = life.start("forward");
    try {
      Path network = Path.of("/proc", Integer.toString(client.pid(pod.containerId())), "ns", "net");
      try (ServerSocket server = Namespaces.inside(network, () -> new ServerSocket(0))) {
        return measure(times, pod.podId(), server);
      }
    } finally {
      client.stopPod(pod.podId());
      client.removePod(pod.podId());
    }
  }

  private MarkdownTable measure(int times, String podId, ServerSocket server)
      throws IOException, InterruptedException {
    InetAddress address =
        InetAddress.getByName(
            Optional.of(client.podAddress(podId)).filter(ip -> !ip.isEmpty()).orElse("127.0.0.1"));
    List<Duration> first = new ArrayList<>();
    List<Duration> floorFirst = new ArrayList<>();
    for (int i = -WARM_UP; i < times; i++) {
      StreamTimes ours = forwarded(podId, server, 1);
      StreamTimes plain = plain(address, server, 1);
      if (i >= 0) {
        first.add(ours.firstByte());
        floorFirst.add(plain.firstByte());
      }
    }
    List<Double> rates = new ArrayList<>();
    List<Double> floorRates = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      rates.add(forwarded(podId, server, BYTES).mebibytesPerSecond());
      floorRates.add(plain(address, server, BYTES).mebibytesPerSecond());
    }
    Distribution ours = new Distribution(first);
    Distribution plain = new Distribution(floorFirst);
    double rate = StreamBenchmark.median(rates);
    double floorRate = StreamBenchmark.median(floorRates);
    return new MarkdownTable("port-forward", "Berth", "floor", "ratio", "goal")
        .row(
            "from the pod, MiB/s, against a plain TCP connection to it",
            StreamBenchmark.number(rate),
            StreamBenchmark.number(floorRate),
            MarkdownTable.ratio(rate / floorRate),
            "≥ 0.50")
        .row(
            "first byte, ms p50",
            MarkdownTable.millis(ours.median()),
            MarkdownTable.millis(plain.median()),
            "",
            "");
  }

  private StreamTimes forwarded(String podId, ServerSocket server, long bytes)
      throws InterruptedException {
    Thread sender = serveOne(server, bytes);
    long begun = System.nanoTime();
    String url = client.portForwardUrl(podId, server.getLocalPort());
    StreamTimes times =
        WebSocketReader.read(url + "?port=" + server.getLocalPort(), PROTOCOL, DATA, PREFIX, begun);
    sender.join();
    return complete(times, bytes);
  }

  private static StreamTimes plain(InetAddress address, ServerSocket server, long bytes)
      throws IOException, InterruptedException {
    Thread sender = serveOne(server, bytes);
    long begun = System.nanoTime();
    long first = 0;
    long last = 0;
    long read = 0;
    try (Socket socket = new Socket(address, server.getLocalPort())) {
      InputStream from = socket.getInputStream();
      byte[] piece = new byte[PIECE];
      for (int n = from.read(piece); n > 0; n = from.read(piece)) {
        last = System.nanoTime();
        first = first == 0 ? last : first;
        read += n;
      }
    }
    sender.join();
    return complete(StreamTimes.of(begun, first, last, read), bytes);
  }

  private static StreamTimes complete(StreamTimes times, long bytes) {
    if (times.bytes() != bytes) {
      throw new BenchException(
          Reason.CALL, "port-forward: " + times.bytes() + " bytes came of " + bytes, null);
    }
    return times;
  }

  /** Sends so much to the next who connects, and closes. */
  private static Thread serveOne(ServerSocket server, long bytes) {
    return Thread.ofPlatform()
        .daemon()
        .start(() -> {
          try (Socket socket = server.accept()) {
            OutputStream to = socket.getOutputStream();
            byte[] piece = new byte[PIECE];
            for (long left = bytes; left > 0; left -= PIECE) {
              to.write(piece, 0, (int) Math.min(PIECE, left));
            }
          } catch (IOException e) {
            // the receiver counts what has come
          }
        });
  }
}
