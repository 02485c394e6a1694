package io.berth.oci;

import java.math.BigInteger;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A filter of system calls (runtime-spec, "Seccomp"). Actions, architectures and operators are the
 * names of libseccomp, such as {@code SCMP_ACT_ERRNO}.
 */
public record Seccomp(
    String defaultAction,
    @Nullable Integer defaultErrnoRet,
    @Nullable List<String> architectures,
    @Nullable List<String> flags,
    @Nullable String listenerPath,
    @Nullable String listenerMetadata,
    @Nullable List<Rule> syscalls) {

  /**
   * What happens to the named calls.
   *
   * @param args conditions that must all hold
   */
  public record Rule(
      List<String> names,
      String action,
      @Nullable Integer errnoRet,
      @Nullable List<Argument> args) {}

  /**
   * A condition on one argument.
   *
   * @param index of the argument, 0 to 5
   * @param value unsigned, 64 bits
   */
  public record Argument(int index, BigInteger value, @Nullable BigInteger valueTwo, String op) {}
}
