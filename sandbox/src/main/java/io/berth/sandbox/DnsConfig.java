package io.berth.sandbox;

import java.util.List;

/// The resolver of a pod: the lines of its resolv.conf. All three empty makes an empty file, while
/// a pod without a [DnsConfig] gets a copy of the machine's file.
public record DnsConfig(List<String> servers, List<String> searches, List<String> options) {
  public DnsConfig {
    servers = Copies.of(servers);
    searches = Copies.of(searches);
    options = Copies.of(options);
  }
}
