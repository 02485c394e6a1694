package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.image.ImageException.Reason;
import io.berth.linux.FileTree;
import io.berth.linux.Mounts;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.Tag;
import net.jqwik.api.Tuple;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/**
 * Layers of random entries with few names, so that they meet: they are unpacked or refused, nothing
 * of the machine changes, and all at once they give the tree that they give one after the other.
 */
@Tag("root")
class UnpackFuzzTest {
  /** No archive says so late a time. */
  private static final long LATEST = 1_700_000_000;

  private static Path canary = Path.of("");

  /** One member of an archive. */
  record Member(char type, String name, String link, int mode) {
    TarBuilder addTo(TarBuilder tar) {
      return tar.mode(mode).entry(type, name, link, type == '0' ? new byte[] {'x'} : new byte[0]);
    }
  }

  @BeforeContainer
  static void open() throws IOException {
    canary = Files.createTempDirectory("berth-canary");
    Files.writeString(canary.resolve("a"), "untouched");
    Files.createDirectory(canary.resolve("b"));
  }

  @AfterContainer
  static void close() {
    FileTree.delete(canary);
  }

  @Provide
  Arbitrary<List<List<Member>>> layers() {
    Arbitrary<String> part =
        Arbitraries.of("a", "b", "c", "..", ".wh.a", ".wh.b", ".wh..wh..opq", ".", "");
    Arbitrary<String> name = part.list().ofMinSize(1).ofMaxSize(3).map(p -> String.join("/", p));
    Arbitrary<String> link =
        Arbitraries.lazyOf(
            () -> name,
            () -> Arbitraries.of(".", "..", "a", "/", "/a/b", "../../../../../../.."),
            () -> Arbitraries.just(canary.toString()),
            () -> Arbitraries.just(canary + "/a"));
    Arbitrary<Member> member =
        Combinators.combine(
                Arbitraries.frequency(
                    Tuple.of(4, '0'),
                    Tuple.of(3, '5'),
                    Tuple.of(4, '2'),
                    Tuple.of(2, '1'),
                    Tuple.of(1, '6'),
                    Tuple.of(1, '3')),
                name,
                link,
                Arbitraries.of(0644, 0777, 0, 07777))
            .as(Member::new);
    return member.list().ofMaxSize(8).list().ofMinSize(1).ofMaxSize(3);
  }

  @Property
  void layersStayInThemselves(@ForAll("layers") List<List<Member>> members) throws Exception {
    Map<String, String> before = TreeListing.ofAll(canary);
    List<byte[]> archives =
        members.stream()
            .map(layer -> {
              TarBuilder tar = new TarBuilder();
              layer.forEach(member -> member.addTo(tar));
              return tar.build();
            })
            .toList();
    Map<String, String> serial;
    try (LayerStack layers = LayerStack.inMemory()) {
      for (byte[] archive : archives) {
        layers.add(archive);
      }
      serial = TreeListing.ofAll(layers.mount(), LATEST);
    } catch (ImageException refused) {
      assertThat(refused.reason()).as(refused.getMessage()).isEqualTo(Reason.CORRUPT);
      assertThat(TreeListing.ofAll(canary)).isEqualTo(before);
      return;
    }
    assertThat(TreeListing.ofAll(canary)).isEqualTo(before);
    try (LayerStack layers = LayerStack.inMemory()) {
      layers.addInAnyOrder(archives);
      assertThat(TreeListing.ofAll(layers.mount(), LATEST)).isEqualTo(serial);
      Mounts.detach(layers.rootfs);
    }
  }
}
