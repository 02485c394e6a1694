package io.berth.sandbox;

import static io.berth.sandbox.SandboxState.CREATING;
import static io.berth.sandbox.SandboxState.READY;
import static io.berth.sandbox.SandboxState.STOPPED;
import static io.berth.sandbox.SandboxState.STOPPING;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class SandboxStateTest {
  private static final Map<SandboxState, Set<SandboxState>> ALLOWED =
      Map.of(
          CREATING, Set.of(READY),
          READY, Set.of(STOPPING),
          STOPPING, Set.of(STOPPED),
          STOPPED, Set.of());

  @ParameterizedTest
  @EnumSource
  void mayBecomeWhatTheDiagramShowsAndNothingElse(SandboxState from) {
    for (SandboxState to : SandboxState.values()) {
      assertThat(from.mayBecome(to))
          .as("%s to %s", from, to)
          .isEqualTo(ALLOWED.getOrDefault(from, Set.of()).contains(to));
    }
  }

  @Test
  void vanishesOnlyWhenNothingOfItIsLeft() {
    assertThat(SandboxState.values())
        .filteredOn(SandboxState::mayVanish)
        .containsExactlyInAnyOrder(CREATING, STOPPED);
  }

  @Test
  void isHiddenOnlyWhileItIsBeingMade() {
    assertThat(SandboxState.values())
        .filteredOn(state -> !state.visible())
        .containsExactly(CREATING);
  }
}
