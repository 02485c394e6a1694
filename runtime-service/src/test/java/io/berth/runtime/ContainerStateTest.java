package io.berth.runtime;

import static io.berth.runtime.ContainerState.CREATED;
import static io.berth.runtime.ContainerState.CREATING;
import static io.berth.runtime.ContainerState.EXITED;
import static io.berth.runtime.ContainerState.REMOVING;
import static io.berth.runtime.ContainerState.RUNNING;
import static io.berth.runtime.ContainerState.STARTING;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ContainerStateTest {
  private static final Map<ContainerState, Set<ContainerState>> NEXT =
      Map.of(
          CREATING, Set.of(CREATED, REMOVING),
          CREATED, Set.of(STARTING, EXITED, REMOVING),
          STARTING, Set.of(RUNNING, EXITED, CREATED),
          RUNNING, Set.of(EXITED),
          EXITED, Set.of(REMOVING),
          REMOVING, Set.of());

  @ParameterizedTest
  @EnumSource
  void nothingElseThanTheDiagramIsAllowed(ContainerState from) {
    for (ContainerState to : ContainerState.values()) {
      assertThat(from.mayBecome(to))
          .as(from + " to " + to)
          .isEqualTo(NEXT.getOrDefault(from, Set.of()).contains(to));
    }
  }

  @Test
  void onlyAContainerThatIsBeingMadeIsHidden() {
    for (ContainerState state : ContainerState.values()) {
      assertThat(state.visible()).as(state.name()).isEqualTo(state != CREATING);
    }
  }

  @Test
  void processesMayExistFromCreationToExit() {
    for (ContainerState state : ContainerState.values()) {
      assertThat(state.live())
          .as(state.name())
          .isEqualTo(Set.of(CREATED, STARTING, RUNNING).contains(state));
    }
  }
}
