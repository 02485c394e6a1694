package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.linux.Subprocess;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.NamespaceMode;
import io.berth.sandbox.SandboxSecurity.SelinuxOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** With files in place of the kernel and the policy; the real ones are met in the test VM. */
class SelinuxTest {
  @TempDir Path folder;
  private final RequestFixture pod = new RequestFixture();
  private Path kernel = Path.of("/");
  private Path policies = Path.of("/");
  private Selinux selinux = new Selinux(null, Path.of("/"));

  @BeforeEach
  void kernelAndPolicy() throws IOException {
    kernel = Files.createDirectory(folder.resolve("selinuxfs"));
    Files.createFile(kernel.resolve("context"));
    policies = Files.createDirectory(folder.resolve("etc"));
    Files.writeString(
        policies.resolve("config"), "# of the machine\nSELINUX=enforcing\nSELINUXTYPE=mine\n");
    Path contexts = Files.createDirectories(policies.resolve("mine/contexts"));
    Files.writeString(
        contexts.resolve("lxc_contexts"),
        """
        process = "system_u:system_r:container_t:s0"
        content = "system_u:object_r:virt_var_lib_t:s0"
        file = "system_u:object_r:container_file_t:s0"
        """);
    selinux = new Selinux(kernel, policies);
  }

  @Test
  void containersOfAPodShareItsCategories() {
    String level = pod.request().sandbox().selinuxLevel();
    Selinux.Labels labels = labels();
    assertThat(labels.process()).isEqualTo("system_u:system_r:container_t:" + level);
    assertThat(labels.files()).isEqualTo("system_u:object_r:container_file_t:" + level);
    assertThat(labels.shared()).isEqualTo("system_u:object_r:container_file_t:s0");
    pod.selinux = new SelinuxOptions("", "", "", "");
    assertThat(labels()).isEqualTo(labels);
  }

  @Test
  void layersHaveTheTypeThatThePolicyHasForWhatIsOnlyRead() throws Exception {
    assertThat(selinux.layers()).contains("system_u:object_r:container_file_t:s0");
    Files.writeString(
        policies.resolve("mine/contexts/lxc_contexts"),
        "ro_file=\"system_u:object_r:container_ro_file_t:s0\"\n",
        StandardOpenOption.APPEND);
    assertThat(selinux.layers()).contains("system_u:object_r:container_ro_file_t:s0");
    Files.delete(kernel.resolve("context"));
    assertThat(selinux.layers()).as("unknown to the kernel").isEmpty();
    assertThat(new Selinux(null, policies).layers()).as("not enabled").isEmpty();
  }

  @Test
  void namedFieldsReplaceThoseOfThePolicy() throws Exception {
    pod.selinux = new SelinuxOptions("user_u", "my_r", "my_t", "s0:c5,c6.c9");
    assertThat(labels())
        .isEqualTo(
            new Selinux.Labels(
                "user_u:my_r:my_t:s0:c5,c6.c9",
                "user_u:object_r:container_file_t:s0:c5,c6.c9",
                "user_u:object_r:container_file_t:s0"));
    assertThat(Files.readString(kernel.resolve("context"))).startsWith("user_u:");
    pod.selinux = new SelinuxOptions("", "", "spc_t", "");
    pod.podSelinux = new SelinuxOptions("", "", "", "s0:c1,c2");
    assertThat(labels().process()).isEqualTo("system_u:system_r:spc_t:s0:c1,c2");
  }

  @Test
  void privilegedContainersAreNotConfinedButTheirFilesAreLabelled() {
    pod.privileged = true;
    assertThat(labels().process()).isNull();
    assertThat(labels().files()).contains("container_file_t");
  }

  @Test
  void whoSharesTheMachinesProcessesIsConfinedOnlyByName() {
    pod.namespaces = RequestFixture.modes(NamespaceMode.POD, NamespaceMode.NODE, NamespaceMode.POD);
    assertThat(labels()).isEqualTo(Selinux.Labels.NONE);
    pod.selinux = new SelinuxOptions("", "", "my_t", "");
    assertThat(labels().process()).contains(":my_t:");
  }

  @Test
  void levelAndTypeAreChecked() throws Exception {
    for (String level : new String[] {"s0:c1,,c2", "c1,c2", "s0:c1;c2", "s0\n", "s0:c1,c2:x"}) {
      pod.selinux = new SelinuxOptions("", "", "", level);
      assertRefused("isn't one such as s0:c1,c2");
    }
    pod.selinux = new SelinuxOptions("", "", "my_t:s0", "");
    assertRefused("no part of an SELinux label");
    pod.selinux = new SelinuxOptions("", "", "unknown_t", "");
    Files.delete(kernel.resolve("context")); // the kernel says no
    assertRefused("unknown_t:s0", "isn't known to the loaded policy");
    pod.selinux = null;
    assertThat(labels()).as("the policy has lxc_contexts alone").isEqualTo(Selinux.Labels.NONE);
  }

  @Test
  void withoutSelinuxOrWithoutContextsALabelIsRefusedByNameAlone() throws Exception {
    Files.delete(policies.resolve("mine/contexts/lxc_contexts"));
    assertThat(labels()).isEqualTo(Selinux.Labels.NONE);
    pod.selinux = new SelinuxOptions("", "", "my_t", "");
    assertRefused("install container-selinux");
    selinux = new Selinux(null, policies);
    assertRefused("SELinux isn't enabled on this machine");
    pod.selinux = new SelinuxOptions("", "", "", "");
    assertThat(labels()).isEqualTo(Selinux.Labels.NONE);
    pod.podSelinux = new SelinuxOptions("", "", "my_t", "");
    assertThatThrownBy(() -> selinux.require(pod.request().sandbox().config()))
        .hasMessageContaining("run sandbox", "SELinux isn't enabled");
  }

  @Test
  @Tag("root")
  void volumesAreSharedAndTheMachinesOwnFoldersAreNot() throws Exception {
    Path volume = Files.createDirectory(folder.resolve("volume"));
    Files.createFile(volume.resolve("file"));
    labels().share(volume, SelinuxTest::refusal);
    for (Path labelled : new Path[] {volume, volume.resolve("file")}) {
      assertThat(Subprocess.command("/usr/bin/stat", "-c", "%C", labelled.toString()).run().out())
          .startsWith("system_u:object_r:container_file_t:s0");
    }
    for (String own : new String[] {"/", "/etc", "/usr", "/var/lib"}) {
      assertThatThrownBy(() -> labels().share(Path.of(own), SelinuxTest::refusal))
          .hasMessageContaining("would take it from the machine");
    }
    Selinux.Labels.NONE.share(Path.of("/etc"), SelinuxTest::refusal);
  }

  private Selinux.Labels labels() {
    return selinux.of(pod.request().sandbox(), pod.security(), SelinuxTest::refusal);
  }

  private static ContainerException refusal(String why) {
    return new ContainerException(Reason.INVALID, why);
  }

  private void assertRefused(String... words) {
    assertThatThrownBy(this::labels)
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.INVALID))
        .hasMessageContainingAll(words);
  }
}
