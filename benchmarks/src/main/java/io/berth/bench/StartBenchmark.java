package io.berth.bench;

import io.berth.bench.BenchException.Reason;
import io.berth.linux.Subprocess;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** From the launch of the daemon to its first answer over the socket. */
final class StartBenchmark {
  private static final int SIGTERM = 15;
  private static final Duration LIMIT = Duration.ofSeconds(30);
  private static final Duration POLL = Duration.ofMillis(2);

  private final List<String> command;
  private final Path socket;

  /**
   * @param command starts a daemon in the foreground that nobody else uses, by an absolute path
   * @param socket where it will serve
   */
  StartBenchmark(List<String> command, Path socket) {
    this.command = command;
    this.socket = socket;
  }

  /** The first start, which finds cold caches, is not among the values. */
  Distribution run(int starts) throws InterruptedException {
    List<Duration> times = new ArrayList<>();
    for (int i = -1; i < starts; i++) {
      Duration time = once();
      if (i >= 0) {
        times.add(time);
      }
    }
    return new Distribution(times);
  }

  private Duration once() throws InterruptedException {
    long start = System.nanoTime();
    Subprocess daemon = Subprocess.command(command).start();
    try {
      while (!connects()) {
        Duration waited = Duration.ofNanos(System.nanoTime() - start);
        if (daemon.onExit().isDone() || waited.compareTo(LIMIT) > 0) {
          throw new BenchException(
              Reason.PROGRAM,
              "start %s: it does not serve %s after %d ms; its output is: %s"
                  .formatted(
                      command,
                      socket,
                      waited.toMillis(),
                      daemon.onExit().isDone() ? daemon.await().err() : "still being written"),
              null);
        }
        Thread.sleep(POLL);
      }
      try (var client = new CriClient(socket)) {
        client.version();
        return Duration.ofNanos(System.nanoTime() - start);
      }
    } finally {
      daemon.kill(SIGTERM);
      daemon.await(LIMIT);
    }
  }

  private boolean connects() {
    try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      return channel.connect(UnixDomainSocketAddress.of(socket));
    } catch (IOException notYet) {
      return false;
    }
  }
}
