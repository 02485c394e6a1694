package io.berth.runtime;

import io.berth.sandbox.SandboxId;

/** The key under which only one container may exist at a time. */
record ContainerName(SandboxId sandbox, String name, int attempt) {
  @Override
  public String toString() {
    return name + " (attempt " + attempt + ") in sandbox " + sandbox.shortForm();
  }
}
