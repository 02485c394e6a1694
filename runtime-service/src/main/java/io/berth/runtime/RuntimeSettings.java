package io.berth.runtime;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * What the containers' side needs of the configuration.
 *
 * @param linger how long a creation or removal goes on when its caller has given up
 * @param bootId file that names the machine's boot, usually /proc/sys/kernel/random/boot_id
 * @param init a static init such as catatonit, for pods that share one PID namespace
 * @param execOutputLimit bytes of an ExecSync answer, both streams together
 * @param killAbandonedExecs whether an exec's command ends with its client
 * @param logs when the daemon rotates logs itself
 * @param pidsLimit the most tasks of one container; 0 sets none
 */
public record RuntimeSettings(
    ContainerLayout layout,
    Duration linger,
    Path bootId,
    Supplier<Optional<Path>> init,
    int execOutputLimit,
    int pidsLimit,
    boolean killAbandonedExecs,
    LogLimits logs) {}
