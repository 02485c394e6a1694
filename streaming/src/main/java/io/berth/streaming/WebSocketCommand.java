package io.berth.streaming;

import java.util.concurrent.ExecutorService;
import org.jspecify.annotations.Nullable;

/**
 * The remote command protocol over WebSocket: the channels are there from the beginning, so the
 * target runs at once.
 */
final class WebSocketCommand implements WebSocketChannels.Listener {
  private static final int STDIN = 0;
  private static final int STDOUT = 1;
  private static final int STDERR = 2;
  private static final int ERROR = 3;
  private static final int RESIZE = 4;

  private final CommandRequest request;
  private final boolean structured;
  private final ExecutorService targets;
  private @Nullable CommandSession session;

  /**
   * @param structured see {@link CommandStatus#of}
   */
  WebSocketCommand(CommandRequest request, boolean structured, ExecutorService targets) {
    this.request = request;
    this.structured = structured;
    this.targets = targets;
  }

  @Override
  public void connected(WebSocketChannels channels) {
    Link link = channels.link();
    StreamInput stdin = null;
    if (request.stdin()) {
      var stream = channels.open(STDIN);
      stdin = new StreamInput(stream, link.loop());
      stream.begin(stdin);
    }
    Resizes resizes = null;
    if (request.tty()) {
      var stream = channels.open(RESIZE);
      resizes = new Resizes(stream);
      stream.begin(resizes);
    }
    session =
        new CommandSession(
            link,
            request,
            new CommandSession.Channels(
                output(channels, ERROR),
                stdin,
                request.stdout() ? output(channels, STDOUT) : null,
                request.stderr() ? output(channels, STDERR) : null,
                resizes),
            structured,
            channels::close);
    channels.greet(request.stdout() ? STDOUT : request.stderr() ? STDERR : ERROR);
    session.start(targets);
  }

  private static StreamOutput output(WebSocketChannels channels, int number) {
    var stream = channels.open(number);
    var output = new StreamOutput(stream, channels.link());
    stream.begin(output);
    return output;
  }

  @Override
  public void disconnected() {
    if (session != null) {
      session.clientGone();
    }
  }
}
