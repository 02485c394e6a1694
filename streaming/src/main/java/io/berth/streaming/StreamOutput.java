package io.berth.streaming;

import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelFutureListener;
import java.io.IOException;
import java.io.OutputStream;
import java.util.Objects;

/** To the client on one stream, for a writer that waits while the client doesn't read. */
final class StreamOutput extends OutputStream implements ClientStream.Receiver {
  private static final int LARGEST_PIECE = 32 << 10;

  private final ClientStream stream;
  private final Link link;
  private volatile boolean gone;

  StreamOutput(ClientStream stream, Link link) {
    this.stream = stream;
    this.link = link;
  }

  ClientStream stream() {
    return stream;
  }

  @Override
  public void write(int value) throws IOException {
    write(new byte[] {(byte) value}, 0, 1);
  }

  @Override
  public void write(byte[] bytes, int offset, int length) throws IOException {
    Objects.checkFromIndexSize(offset, length, bytes.length);
    int at = offset;
    int rest = length;
    while (rest > 0) {
      int piece = link.budget().take(Math.min(rest, LARGEST_PIECE));
      if (gone || link.loop().isShuttingDown()) {
        link.budget().giveBack(piece);
        throw new IOException("write to the client: it has closed the stream");
      }
      ByteBuf data = link.channel().alloc().buffer(piece).writeBytes(bytes, at, piece);
      link.loop()
          .execute(() -> {
            ChannelFutureListener written =
                sent -> {
                  link.budget().giveBack(piece);
                  gone |= !sent.isSuccess();
                };
            stream.send(data).addListener(written);
          });
      at += piece;
      rest -= piece;
    }
  }

  /** A client has nothing to send on a stream that it reads. */
  @Override
  public void data(ByteBuf data) {
    int count = data.readableBytes();
    data.release();
    stream.consumed(count);
  }

  /** Clients half-close the streams that they only read; this direction goes on. */
  @Override
  public void end() {}

  @Override
  public void reset() {
    gone = true;
  }
}
