package io.berth.streaming;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;

/** A result as the error channel tells it. */
final class CommandStatus {
  private CommandStatus() {}

  /**
   * Empty when there is nothing to be said.
   *
   * @param structured from version 4 of the remote command protocol on: a Kubernetes Status;
   *     before, plain text of failures alone
   */
  static byte[] of(CommandResult result, boolean structured) {
    String text =
        switch (result) {
          case CommandResult.Exited(int code) when structured && code == 0 -> status("Success");
          case CommandResult.Exited(int code) when structured -> nonZeroExit(code);
          case CommandResult.Exited(int code) when code == 0 -> "";
          case CommandResult.Exited(int code) -> exitText(code);
          case CommandResult.Failed(String message) when structured -> internalError(message);
          case CommandResult.Failed(String message) -> message;
        };
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static String exitText(int code) {
    return "command terminated with non-zero exit code: " + code;
  }

  private static String status(String status) {
    return object(status).toString();
  }

  private static ObjectNode object(String status) {
    return JsonNodeFactory.instance.objectNode().put("status", status);
  }

  private static String nonZeroExit(int code) {
    ObjectNode status =
        object("Failure").put("reason", "NonZeroExitCode").put("message", exitText(code));
    status
        .putObject("details")
        .putArray("causes")
        .addObject()
        .put("reason", "ExitCode")
        .put("message", String.valueOf(code));
    return status.toString();
  }

  private static String internalError(String message) {
    return object("Failure")
        .put("reason", "InternalError")
        .put("message", message)
        .put("code", 500)
        .toString();
  }
}
