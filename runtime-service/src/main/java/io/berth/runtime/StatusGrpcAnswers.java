package io.berth.runtime;

import io.berth.cni.CniNetworks;
import io.berth.cni.NetworkStatus;
import io.berth.cri.v1.RuntimeCondition;
import io.berth.cri.v1.RuntimeFeatures;
import io.berth.cri.v1.RuntimeHandler;
import io.berth.cri.v1.RuntimeStatus;
import io.berth.cri.v1.StatusResponse;
import io.berth.oci.Json;
import java.io.IOException;
import java.util.Optional;
import java.util.stream.Stream;

/** Whether pods can be run, with a reason that a person can act on, and what they can have. */
final class StatusGrpcAnswers {
  private final RuntimeInfo info;
  private final CniNetworks networks;
  private final RuntimeHandlers handlers;
  private final HostFeatures host;
  private final UserNamespaceSupport users;
  private final Conmon conmon;

  StatusGrpcAnswers(
      RuntimeInfo info,
      CniNetworks networks,
      RuntimeHandlers handlers,
      HostFeatures host,
      UserNamespaceSupport users,
      Conmon conmon) {
    this.info = info;
    this.networks = networks;
    this.handlers = handlers;
    this.host = host;
    this.users = users;
    this.conmon = conmon;
  }

  StatusResponse status(boolean verbose) throws IOException, InterruptedException {
    NetworkStatus network = networks.status();
    boolean userNamespaces = users.obstacle().isEmpty();
    StatusResponse.Builder response =
        StatusResponse.newBuilder()
            .setStatus(
                RuntimeStatus.newBuilder()
                    .addConditions(runtimeReady())
                    .addConditions(
                        condition(
                            "NetworkReady",
                            network.ready(),
                            network.ready() ? "" : "NetworkPluginNotReady",
                            network.ready()
                                ? ""
                                : "Network plugin returns error: " + network.message())))
            .setFeatures(
                RuntimeFeatures.newBuilder()
                    .setSupplementalGroupsPolicy(true)
                    .setMountOptions(true)
                    .setUserNamespacesHostNetwork(userNamespaces));
    // The default handler is listed under its name and under the empty one.
    for (String name : Stream.concat(Stream.of(""), handlers.names().stream()).toList()) {
      response.addRuntimeHandlers(
          RuntimeHandler.newBuilder()
              .setName(name)
              .setFeatures(GrpcAnswers.features(handlers.features(name), host, userNamespaces)));
    }
    if (verbose) {
      response.putInfo("config", info.configJson());
      response.putInfo("network", json(network));
    }
    return response.build();
  }

  /**
   * What every pod needs besides the network; looked up each time, as it may be installed
   * meanwhile.
   */
  private RuntimeCondition runtimeReady() throws InterruptedException {
    if (!conmon.isInstalled()) {
      return condition(
          "RuntimeReady",
          false,
          "MonitorMissing",
          "conmon isn't installed; install it or correct containers.conmon");
    }
    if (!handlers.isDefaultInstalled()) {
      String name = handlers.defaultName();
      return condition(
          "RuntimeReady",
          false,
          "HandlerMissing",
          "the program of the default runtime handler "
              + name
              + " isn't installed; install it or correct runtimes."
              + name
              + ".path");
    }
    return condition("RuntimeReady", true, "", "");
  }

  private static RuntimeCondition condition(
      String type, boolean status, String reason, String message) {
    return RuntimeCondition.newBuilder()
        .setType(type)
        .setStatus(status)
        .setReason(reason)
        .setMessage(message)
        .build();
  }

  private static String json(Object value) throws IOException {
    return Optional.ofNullable(Json.MAPPER.writeValueAsString(value)).orElse("{}");
  }
}
