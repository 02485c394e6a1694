package io.berth.streaming;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;

/** One HTTP/1.1 request over a socket that goes on afterwards. */
final class HttpClientSocket implements Closeable {
  private final URI url;
  private final Socket socket;

  HttpClientSocket(URI url) throws IOException {
    this(url, new Socket(url.getHost(), url.getPort()));
  }

  HttpClientSocket(URI url, Socket socket) throws IOException {
    this.url = url;
    this.socket = socket;
    socket.setSoTimeout(60_000);
  }

  InputStream in() throws IOException {
    return socket.getInputStream();
  }

  OutputStream out() throws IOException {
    return socket.getOutputStream();
  }

  /** Returns the answer's head, up to and with the empty line. */
  String request(String method, String headers) throws IOException {
    out()
        .write(
            "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n"
                .formatted(method, url.getRawPath(), url.getAuthority(), headers)
                .getBytes(StandardCharsets.US_ASCII));
    var head = new ByteArrayOutputStream();
    while (!head.toString(StandardCharsets.US_ASCII).endsWith("\r\n\r\n")) {
      int next = in().read();
      if (next < 0) {
        break;
      }
      head.write(next);
    }
    return head.toString(StandardCharsets.US_ASCII);
  }

  /** Ends as a process that is killed does. */
  @Override
  public void close() throws IOException {
    socket.close();
  }
}
