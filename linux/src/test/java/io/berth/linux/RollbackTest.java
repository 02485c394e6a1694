package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class RollbackTest {
  private final List<String> done = new ArrayList<>();
  private final List<String> owed = new ArrayList<>();
  private final Debts debts =
      (debt, cause) -> owed.add(debt.kind() + " " + debt.subject() + ": " + cause.getMessage());

  @AfterEach
  void leaveNoInterrupt() {
    Thread.interrupted();
  }

  @Test
  void stepsAreUndoneInReverse() {
    try (Rollback rollback = new Rollback("test", debts)) {
      rollback.add(new Debt("k", "1"), () -> done.add("1"));
      rollback.add(new Debt("k", "2"), () -> done.add("2"));
    }
    assertThat(done).containsExactly("2", "1");
    assertThat(owed).isEmpty();
  }

  @Test
  void committedOperationStays() {
    try (Rollback rollback = new Rollback("test", debts)) {
      rollback.add(new Debt("k", "1"), () -> done.add("1"));
      rollback.commit();
    }
    assertThat(done).isEmpty();
  }

  @Test
  void failedUndoIsOwedAndTheOthersAreStillDone() {
    try (Rollback rollback = new Rollback("test", debts)) {
      rollback.add(new Debt("k", "1"), () -> done.add("1"));
      rollback.add(
          new Debt("checked", "2"),
          () -> {
            throw new IOException("disk");
          });
      rollback.add(
          new Debt("error", "3"),
          () -> {
            throw new NoClassDefFoundError("X");
          });
      rollback.add(new Debt("k", "4"), () -> done.add("4"));
    }
    assertThat(done).containsExactly("4", "1");
    assertThat(owed).containsExactly("error 3: X", "checked 2: disk");
  }

  @Test
  void causeOfTheFailureGetsThroughUnchanged() {
    assertThatThrownBy(
            () -> {
              try (Rollback rollback = new Rollback("test", debts)) {
                rollback.add(
                    new Debt("k", "1"),
                    () -> {
                      throw new IOException("undo");
                    });
                throw new IllegalStateException("cause");
              }
            })
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("cause");
  }

  @Test
  void everyUndoOfACancelledCallRunsUninterruptedAndTheInterruptStays() {
    List<Boolean> seen = new ArrayList<>();
    try (Rollback rollback = new Rollback("test", debts)) {
      rollback.add(new Debt("k", "1"), () -> seen.add(Thread.currentThread().isInterrupted()));
      rollback.add(
          new Debt("k", "2"),
          () -> {
            seen.add(Thread.currentThread().isInterrupted());
            Thread.currentThread().interrupt(); // as code does that was interrupted on its way
          });
      Thread.currentThread().interrupt();
    }
    assertThat(seen).containsExactly(false, false);
    assertThat(Thread.interrupted()).isTrue();
  }

  @Test
  void interruptedUndoIsOwed() {
    try (Rollback rollback = new Rollback("test", debts)) {
      rollback.add(new Debt("k", "1"), () -> done.add("1"));
      rollback.add(
          new Debt("k", "2"),
          () -> {
            throw new InterruptedException("shutdown");
          });
    }
    assertThat(owed).containsExactly("k 2: shutdown");
    assertThat(done).containsExactly("1");
    assertThat(Thread.interrupted()).isTrue();
  }
}
