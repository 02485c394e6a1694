package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.concurrent.Callable;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Tuple;

/** Texts for parsers: cut from texts of the real kind, put together anew and spoilt. */
final class SpoiltText {
  private SpoiltText() {}

  static Arbitrary<String> of(List<String> parts) {
    Arbitrary<String> piece =
        Arbitraries.frequencyOf(
            Tuple.of(8, Arbitraries.of(parts)),
            Tuple.of(1, Arbitraries.strings().ofMaxLength(8)),
            Tuple.of(
                1,
                Combinators.combine(Arbitraries.of(parts), Arbitraries.integers().between(1, 6))
                    .as((part, end) -> part.substring(0, Math.min(end, part.length())))),
            Tuple.of(
                1,
                Combinators.combine(Arbitraries.of(parts), Arbitraries.of(2, 50, 3000))
                    .as((part, times) -> part.repeat(times))));
    return piece.list().ofMaxSize(12).map(pieces -> String.join("", pieces));
  }

  /** Understood, or refused by the module. */
  static void answered(Callable<?> parser) throws Exception {
    try {
      var _ = parser.call();
    } catch (ImageException refused) {
      assertThat(refused.getMessage()).isNotBlank();
    }
  }
}
