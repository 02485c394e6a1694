package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.berth.cri.v1.PodSandboxConfig;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** What Prometheus reads of a berthd at work, and what the dashboard and the alerts make of it. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class MetricsIT {
  private static final String PAUSE = "registry.k8s.io/pause:3.9";

  private static final int IMAGES = 500;

  /** Every name in a query that isn't a function, a keyword or a label. */
  private static final Pattern METRIC = Pattern.compile("\\b(?:berth|jvm|process)_[a-z_]+\\b");

  private final DockerRegistry registry;

  MetricsIT(DockerRegistry registry) {
    this.registry = registry;
  }

  static int freePort() throws IOException {
    try (var socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    }
  }

  private static Exposition scrape(int port) throws IOException {
    try (var body = URI.create("http://127.0.0.1:" + port + "/metrics").toURL().openStream()) {
      return new Exposition(new String(body.readAllBytes(), StandardCharsets.UTF_8));
    }
  }

  @Test
  void theDashboardAndTheAlertsAskForWhatThereIsAndPodsAddNoSeries() throws Exception {
    int port = freePort();
    try (var daemon =
        BerthDaemon.with()
            .config("[metrics]\naddress = \"127.0.0.1:" + port + "\"\n")
            .registry(registry.address())
            .start()) {
      Path archive = daemon.folder().resolve("images.tar");
      ManyImages.write(archive, 1);
      var berth = new BerthCli(daemon);
      var _ = berth.run("import", archive.toString());
      live(daemon, "first");
      Exposition first = scrape(port);
      assertThat(first.series())
          .containsEntry("berth_calls_seconds_count{code=\"OK\",method=\"RunPodSandbox\"}", 1.0)
          .containsEntry("berth_stages_seconds_count{stage=\"cni add bridge\"}", 1.0)
          .containsEntry("berth_runtime_errors_total{handler=\"runc\"}", 1.0)
          .containsEntry("berth_images{}", 2.0)
          .containsEntry("berth_pods{}", 0.0);
      assertThat(first.series().get("berth_pulled_bytes_total{}")).isGreaterThan(100_000);
      assertThat(first.names()).containsAll(names("docs/grafana-dashboard.json"));
      assertThat(first.names()).containsAll(names("docs/alerts.yaml"));

      daemon.crictl().run("pull", PAUSE);
      ManyImages.write(archive, IMAGES);
      var _ = berth.run("import", archive.toString());
      assertThat(scrape(port).series()).containsEntry("berth_images{}", IMAGES + 2.0);
      live(daemon, "second");
      live(daemon, "third");
      assertThat(own(scrape(port)))
          .as("neither images nor pods nor containers make series")
          .containsExactlyInAnyOrderElementsOf(own(first));
    }
  }

  /** A whole life, with a failure of the runtime in it. */
  private static void live(BerthDaemon daemon, String name) throws Exception {
    Crictl crictl = daemon.crictl();
    crictl.run("pull", Requests.BUSYBOX);
    PodSandboxConfig.Builder pod = Requests.pod(daemon, name);
    String podId = crictl.runPod(pod);
    String id =
        crictl.start(podId, Requests.container("main", Requests.BUSYBOX, Requests.SLEEP), pod);
    crictl.run("exec", "-s", id, "true");
    assertThatThrownBy(() ->
            crictl.create(
                podId, Requests.container("broken", Requests.BUSYBOX, List.of("/no/such")), pod))
        .hasMessageContaining("/no/such");
    crictl.run("stop", "--timeout", "10", id);
    crictl.run("rm", id);
    crictl.run("stopp", podId);
    crictl.run("rmp", podId);
  }

  private static Set<String> own(Exposition exposition) {
    return exposition.series().keySet().stream()
        .filter(series -> series.startsWith("berth_"))
        .collect(Collectors.toCollection(TreeSet::new));
  }

  private static Set<String> names(String file) throws IOException {
    Set<String> names = new TreeSet<>();
    for (String query : queries(file)) {
      Matcher name = METRIC.matcher(query);
      while (name.find()) {
        names.add(name.group());
      }
    }
    assertThat(names).as("queries in " + file).hasSizeGreaterThan(5);
    return names;
  }

  private static List<String> queries(String file) throws IOException {
    String text = Files.readString(TestTools.repository(file));
    List<String> queries = new ArrayList<>();
    if (file.endsWith(".json")) {
      for (JsonNode panel : new JsonMapper().readTree(text).get("panels")) {
        panel.path("targets").forEach(target -> queries.add(target.get("expr").asText()));
      }
    } else {
      text.lines().filter(line -> !line.contains("summary:")).forEach(queries::add);
    }
    return queries;
  }
}
