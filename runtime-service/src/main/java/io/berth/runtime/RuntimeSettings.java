package io.berth.runtime;

import java.nio.file.Path;
import java.time.Duration;

/**
 * What the containers' side needs of the configuration.
 *
 * @param linger how long a creation or removal goes on when its caller has given up
 * @param bootId file that names the machine's boot, usually /proc/sys/kernel/random/boot_id
 * @param initBinary a static init such as catatonit, for pods that share one PID namespace
 */
public record RuntimeSettings(
    ContainerLayout layout, Duration linger, Path bootId, Path initBinary) {}
