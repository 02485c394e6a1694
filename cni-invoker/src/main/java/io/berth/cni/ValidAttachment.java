package io.berth.cni;

/** An attachment that garbage collection must keep. */
public record ValidAttachment(String sandboxId, String ifName) {}
