package io.berth.runtime;

import io.berth.oci.Digest;
import io.berth.sandbox.SandboxId;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** Records of containers, as they are at some moment. */
final class Containers {
  static final SandboxId POD = new SandboxId("ab".repeat(32));

  private Containers() {}

  static ContainerId id(String prefix) {
    return new ContainerId(prefix + "0".repeat(64 - prefix.length()));
  }

  static Container of(ContainerId id, String name, ContainerState state) {
    return of(id, named(name), state);
  }

  static Container of(ContainerId id, ContainerConfig config, ContainerState state) {
    return new Container(
        id,
        POD,
        config,
        "fake",
        Digest.sha256("image".getBytes(StandardCharsets.UTF_8)),
        "registry.example/image@sha256:" + "1".repeat(64),
        "registry.example/image:1",
        state,
        "boot",
        "/pod/" + id,
        "/pod/" + id,
        "/var/log/pods/x/0.log",
        "SIGTERM",
        null,
        1,
        0,
        null,
        null,
        null,
        null,
        Map.of());
  }

  static ContainerConfig named(String name) {
    ContainerConfig c = new RequestFixture().request().config();
    return new ContainerConfig(
        name,
        0,
        c.image(),
        c.userImage(),
        c.command(),
        c.args(),
        c.workingDir(),
        c.envs(),
        c.mounts(),
        c.devices(),
        c.cdiDevices(),
        c.labels(),
        c.annotations(),
        c.logPath(),
        c.stdin(),
        c.stdinOnce(),
        c.tty(),
        c.stopSignal(),
        c.resources(),
        c.security());
  }
}
