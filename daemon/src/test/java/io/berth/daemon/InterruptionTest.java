package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class InterruptionTest {
  private final Interruption interruption = new Interruption();

  @Test
  void reachesTheThreadAtWork() {
    interruption.enter();
    interruption.request();
    assertThat(Thread.currentThread().isInterrupted()).isTrue();
    interruption.leave();
    assertThat(Thread.currentThread().isInterrupted()).as("taken along").isFalse();
  }

  @Test
  void neverReachesAThreadThatHasLeft() {
    interruption.enter();
    interruption.leave();
    interruption.request();
    assertThat(Thread.currentThread().isInterrupted()).isFalse();
  }

  @Test
  void isNotLostWhenItComesBeforeTheWork() {
    interruption.request();
    interruption.enter();
    assertThat(Thread.currentThread().isInterrupted()).isTrue();
    interruption.leave();
  }
}
