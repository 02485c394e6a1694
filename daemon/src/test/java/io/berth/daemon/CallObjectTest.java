package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.admin.v1.ExportRequest;
import io.berth.cri.v1.AuthConfig;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerMetadata;
import io.berth.cri.v1.CreateContainerRequest;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PodSandboxMetadata;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.RunPodSandboxRequest;
import io.berth.cri.v1.StopContainerRequest;
import io.berth.cri.v1.VersionRequest;
import org.junit.jupiter.api.Test;

class CallObjectTest {
  @Test
  void namesWhatTheRequestIsAbout() {
    var pod = PodSandboxMetadata.newBuilder().setNamespace("default").setName("web");
    assertThat(
            CallObject.of(
                RunPodSandboxRequest.newBuilder()
                    .setConfig(PodSandboxConfig.newBuilder().setMetadata(pod))
                    .build()))
        .isEqualTo("default/web");
    assertThat(
            CallObject.of(
                CreateContainerRequest.newBuilder()
                    .setPodSandboxId("p1")
                    .setConfig(
                        ContainerConfig.newBuilder()
                            .setMetadata(ContainerMetadata.newBuilder().setName("app")))
                    .build()))
        .isEqualTo("p1/app");
    assertThat(CallObject.of(StopContainerRequest.newBuilder().setContainerId("c1").build()))
        .isEqualTo("c1");
    assertThat(CallObject.of(ExportRequest.newBuilder().addImages("a:1").addImages("b:2").build()))
        .isEqualTo("a:1, b:2");
    assertThat(CallObject.of(VersionRequest.getDefaultInstance())).isEmpty();
  }

  @Test
  void readsNoCredentials() {
    assertThat(
            CallObject.of(
                PullImageRequest.newBuilder()
                    .setImage(ImageSpec.newBuilder().setImage("registry.example/app:1"))
                    .setAuth(AuthConfig.newBuilder().setUsername("me").setPassword("secret"))
                    .build()))
        .isEqualTo("registry.example/app:1");
  }
}
