package io.berth.streaming;

/**
 * A terminal's size in characters.
 *
 * @param width columns, 1 to 65535
 * @param height rows, 1 to 65535
 */
public record TerminalSize(int width, int height) {}
