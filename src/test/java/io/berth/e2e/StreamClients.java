package io.berth.e2e;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.berth.cri.v1.AttachRequest;
import io.berth.cri.v1.ExecRequest;
import java.io.IOException;
import java.io.OutputStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Clients at a daemon's streams, each a process; all are ended with it. */
final class StreamClients implements AutoCloseable {
  private static final Duration SOON = Duration.ofSeconds(60);

  private final BerthDaemon daemon;
  private final List<Client> clients = new ArrayList<>();

  StreamClients(BerthDaemon daemon) {
    this.daemon = daemon;
  }

  /** The client as a process, with pipes. */
  record Client(Process process) implements AutoCloseable {
    OutputStream stdin() {
      return process.getOutputStream();
    }

    String line() throws IOException {
      var line = new StringBuilder();
      for (int c = process.getInputStream().read(); c >= 0; c = process.getInputStream().read()) {
        if (c == '\n') {
          return line.toString().strip();
        }
        line.append((char) c);
      }
      throw new AssertionError("the output ends after: " + line);
    }

    void send(String text) throws IOException {
      stdin().write(text.getBytes(UTF_8));
      stdin().flush();
    }

    String rest() throws IOException {
      return new String(process.getInputStream().readAllBytes(), UTF_8);
    }

    String errors() throws IOException {
      return new String(process.getErrorStream().readAllBytes(), UTF_8);
    }

    int exitCode() throws InterruptedException {
      if (!process.waitFor(SOON.toSeconds(), TimeUnit.SECONDS)) {
        throw new AssertionError("the client doesn't end");
      }
      return process.exitValue();
    }

    @Override
    public void close() {
      process.destroyForcibly();
    }
  }

  Client exec(
      String transport, String container, boolean stdin, List<String> options, String... command)
      throws IOException {
    boolean tty = options.contains("-tty");
    String url =
        daemon
            .client()
            .runtime()
            .exec(
                ExecRequest.newBuilder()
                    .setContainerId(container)
                    .addAllCmd(List.of(command))
                    .setStdin(stdin)
                    .setStdout(true)
                    .setStderr(!tty)
                    .setTty(tty)
                    .build())
            .getUrl();
    return start("exec", transport, url, stdin, tty, options);
  }

  Client attach(String transport, String container, boolean stdin, boolean tty) throws IOException {
    return attach(transport, container, stdin, tty, tty ? List.of("-tty") : List.of());
  }

  Client attach(
      String transport, String container, boolean stdin, boolean tty, List<String> options)
      throws IOException {
    String url =
        daemon
            .client()
            .runtime()
            .attach(
                AttachRequest.newBuilder()
                    .setContainerId(container)
                    .setStdin(stdin)
                    .setStdout(true)
                    .setStderr(!tty)
                    .setTty(tty)
                    .build())
            .getUrl();
    return start("attach", transport, url, stdin, tty, options);
  }

  Client start(
      String kind, String transport, String url, boolean stdin, boolean tty, List<String> options)
      throws IOException {
    var command = new ArrayList<String>();
    command.add(TestTools.built("kubeclient").toString());
    command.addAll(List.of(kind, "-url", url, "-transport", transport));
    if (stdin) {
      command.add("-stdin");
    }
    if (!tty) {
      command.add("-stderr");
    }
    command.addAll(options);
    Client client = run(command);
    if (!stdin) {
      client.stdin().close();
    }
    return client;
  }

  /** Any command; what it has to say of errors is read by {@link Client#errors}. */
  Client run(List<String> command) throws IOException {
    Client client = new Client(new ProcessBuilder(command).start());
    clients.add(client);
    return client;
  }

  @Override
  public void close() {
    clients.forEach(Client::close);
  }
}
