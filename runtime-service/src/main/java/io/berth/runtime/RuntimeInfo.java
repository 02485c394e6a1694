package io.berth.runtime;

import io.berth.linux.CgroupDriver;
import java.nio.file.Path;

/**
 * What the service tells about itself.
 *
 * @param version Berth's own, semantic
 * @param configJson the effective configuration, an object that has {@code stateDir}
 * @param storePath the folder that ImageFsInfo names
 */
public record RuntimeInfo(
    String version, CgroupDriver cgroupDriver, String configJson, Path storePath) {}
