package io.berth.streaming;

import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelDuplexHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelPromise;
import io.netty.handler.codec.http.websocketx.BinaryWebSocketFrame;
import io.netty.handler.codec.http.websocketx.CloseWebSocketFrame;
import io.netty.handler.codec.http.websocketx.ContinuationWebSocketFrame;
import io.netty.handler.codec.http.websocketx.PingWebSocketFrame;
import io.netty.handler.codec.http.websocketx.PongWebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketFrame;

/** Bytes of another protocol, cut into binary messages wherever it pleases. */
final class WebSocketTunnel extends ChannelDuplexHandler {
  @Override
  public void channelRead(ChannelHandlerContext context, Object message) {
    WebSocketFrame frame = (WebSocketFrame) message;
    switch (frame) {
      case BinaryWebSocketFrame _, ContinuationWebSocketFrame _ ->
          context.fireChannelRead(frame.content());
      case PingWebSocketFrame _ -> {
        var _ = context.writeAndFlush(new PongWebSocketFrame(frame.content()));
      }
      case CloseWebSocketFrame _ -> {
        var _ = context.writeAndFlush(frame);
        var _ = context.close();
      }
      default -> frame.release();
    }
  }

  @Override
  public void write(ChannelHandlerContext context, Object message, ChannelPromise promise) {
    var _ = context.write(new BinaryWebSocketFrame((ByteBuf) message), promise);
  }
}
