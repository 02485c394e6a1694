package io.berth.e2e;

/** A node with three OCI runtimes, one handler each. */
final class Runtimes {
  /** The pinned runc. */
  static final String CURRENT = "current";

  /** The runc that Debian has. */
  static final String DEBIAN = "debian";

  /** The crun that Debian has. */
  static final String CRUN = "crun";

  private Runtimes() {}

  static BerthDaemon.Builder node(DockerRegistry registry) {
    return BerthDaemon.with()
        .registry(registry.address())
        .withoutUnifiedCgroups()
        .config(
            """
            [containers]
            default_runtime = "%s"
            [runtimes.%s]
            path = "%s"
            [runtimes.%s]
            path = "%s"
            [runtimes.%s]
            path = "%s"
            """
                .formatted(
                    CURRENT,
                    CURRENT,
                    TestTools.built("runc"),
                    DEBIAN,
                    TestTools.installed("runc", "runc"),
                    CRUN,
                    TestTools.installed("crun", "crun")));
  }
}
