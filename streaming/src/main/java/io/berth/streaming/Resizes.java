package io.berth.streaming;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.netty.buffer.ByteBuf;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The resize stream: JSON objects one after the other, cut anywhere, as in {@code
 * {"Width":80,"Height":24}}. What isn't a size is passed over.
 */
final class Resizes implements ClientStream.Receiver {
  private static final ObjectMapper MAPPER = new JsonMapper();
  private static final int LONGEST_OBJECT = 1024;
  private static final int LARGEST = 65535;

  private final ClientStream stream;
  private final ByteArrayOutputStream object = new ByteArrayOutputStream();
  private @Nullable TerminalSize latest;
  private @Nullable Consumer<TerminalSize> listener;

  Resizes(ClientStream stream) {
    this.stream = stream;
  }

  /** From any thread; the listener is told the latest size at once, if there is one. */
  synchronized void listen(Consumer<TerminalSize> newListener) {
    listener = newListener;
    if (latest != null) {
      newListener.accept(latest);
    }
  }

  @Override
  public void data(ByteBuf data) {
    int count = data.readableBytes();
    while (data.isReadable()) {
      byte next = data.readByte();
      object.write(next);
      if (next == '}') {
        parse(object.toByteArray());
        object.reset();
      } else if (object.size() > LONGEST_OBJECT) {
        object.reset();
      }
    }
    data.release();
    stream.consumed(count);
  }

  private void parse(byte[] json) {
    JsonNode size;
    try {
      size = MAPPER.readTree(json);
    } catch (JacksonException notJson) {
      return;
    } catch (IOException impossible) {
      throw new java.io.UncheckedIOException(impossible);
    }
    int width = size.path("Width").asInt();
    int height = size.path("Height").asInt();
    if (width > 0 && width <= LARGEST && height > 0 && height <= LARGEST) {
      tell(new TerminalSize(width, height));
    }
  }

  private synchronized void tell(TerminalSize size) {
    latest = size;
    if (listener != null) {
      listener.accept(size);
    }
  }

  @Override
  public void end() {}

  @Override
  public void reset() {}
}
