package io.berth.linux;

import java.util.Map;

/**
 * An undo step as data, so that it can be kept and done later by another process.
 *
 * @param kind what is to be undone, as in {@code cni-del}; one handler per kind
 * @param subject the object, as in a sandbox id or a mount point
 * @param details what else the handler needs
 */
public record Debt(String kind, String subject, Map<String, String> details) {
  public Debt {
    details = Map.copyOf(details);
  }

  public Debt(String kind, String subject) {
    this(kind, subject, Map.of());
  }
}
