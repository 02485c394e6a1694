package io.berth.cni;

import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/** A network operation that failed. The message names operation, sandbox, network and plugin. */
public final class CniException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** What kind of failure it was; the daemon maps each to one gRPC code. */
  public enum Reason {
    /** No usable network configuration, or a plugin of it is not installed. */
    NETWORK_NOT_READY,
    /**
     * A plugin answered with an error: {@link #plugin}, {@link #code} and {@link #pluginMessage}
     * tell which.
     */
    PLUGIN_FAILED,
    /** A plugin asked to be tried again later (code 11). */
    TRY_AGAIN,
    /**
     * A plugin ended well but its answer is no CNI result, or one without an address for the pod.
     */
    BAD_RESULT,
    /** The time given to the operation was used up; the plugin was killed. */
    TIMED_OUT,
    /** A name or id that CNI doesn't allow. */
    INVALID_ARGUMENT,
    /** CHECK of a sandbox that has no cached attachment. */
    NOT_ATTACHED,
    /** The result cache could not be read or written. */
    CACHE_FAILED
  }

  private final Reason reason;
  private final @Nullable String plugin;
  private final @Nullable Integer code;
  private final @Nullable String pluginMessage;
  private final @Nullable String details;

  CniException(Reason reason, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.reason = reason;
    this.plugin = null;
    this.code = null;
    this.pluginMessage = null;
    this.details = null;
  }

  private CniException(Reason reason, String message, PluginError error) {
    super(message);
    this.reason = reason;
    this.plugin = error.plugin();
    this.code = error.code();
    this.pluginMessage = error.message();
    this.details = error.details();
  }

  /**
   * @param operation as in {@code cni add of sandbox 1f2e to network podnet}
   */
  static CniException pluginFailed(String operation, PluginError error) {
    Integer code = error.code();
    Reason reason =
        code != null && code == PluginError.TRY_AGAIN_LATER
            ? Reason.TRY_AGAIN
            : Reason.PLUGIN_FAILED;
    return new CniException(reason, operation + ": " + error.describe(), error);
  }

  static CniException badResult(String operation, String plugin, String problem) {
    PluginError error = new PluginError(plugin, null, problem, "");
    return new CniException(
        Reason.BAD_RESULT, operation + ": plugin " + plugin + " " + problem, error);
  }

  static CniException timedOut(String operation, String plugin, String problem) {
    PluginError error = new PluginError(plugin, null, problem, "");
    return new CniException(
        Reason.TIMED_OUT, operation + ": plugin " + plugin + " " + problem, error);
  }

  public Reason reason() {
    return reason;
  }

  /** The {@code type} of the plugin that failed, when one did. */
  public @Nullable String plugin() {
    return plugin;
  }

  /**
   * The plugin's error code: below 100 as in the specification's section 5, from 100 on its own.
   */
  public OptionalInt code() {
    return code == null ? OptionalInt.empty() : OptionalInt.of(code);
  }

  /** The plugin's own words, unchanged. */
  public @Nullable String pluginMessage() {
    return pluginMessage;
  }

  /** The longer explanation that some plugins add; empty when none. */
  public @Nullable String details() {
    return details;
  }
}
