package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class ProcessRefTest {
  private static final int SIGKILL = 9;

  @Test
  void processIsKnownByNumberAndStartTime() throws Exception {
    Subprocess sleeper = Subprocess.command("/bin/sleep", "100").start();
    try {
      ProcessRef ref = ProcessRef.of(sleeper.pid()).orElseThrow();
      assertThat(ref.isAlive()).isTrue();
      assertThat(ProcessRef.of(sleeper.pid())).contains(ref);

      // As if the number had been used by an earlier process.
      ProcessRef earlier = new ProcessRef(ref.pid(), ref.startTicks() - 1);
      assertThat(earlier.isAlive()).isFalse();
      assertThat(earlier.signal(SIGKILL)).isFalse();
      assertThat(ref.isAlive()).as("the signal wasn't for this one").isTrue();
      CountDownLatch told = new CountDownLatch(1);
      earlier.onExit(told::countDown);
      assertThat(told.await(10, TimeUnit.SECONDS)).isTrue();

      assertThat(ref.signal(SIGKILL)).isTrue();
    } finally {
      sleeper.kill(SIGKILL);
    }
    assertThat(sleeper.await().exitCode()).isEqualTo(128 + SIGKILL);
  }

  @Test
  void endIsToldOnAVirtualThread() throws Exception {
    Subprocess sleeper = Subprocess.command("/bin/sleep", "100").start();
    ProcessRef ref = ProcessRef.of(sleeper.pid()).orElseThrow();
    CompletableFuture<Boolean> virtual = new CompletableFuture<>();
    ref.onExit(() -> virtual.complete(Thread.currentThread().isVirtual()));
    assertThat(virtual).isNotDone();
    sleeper.kill(SIGKILL);
    assertThat(virtual.get(10, TimeUnit.SECONDS)).isTrue();
    assertThat(ref.isAlive()).isFalse();
    assertThat(ref.signal(SIGKILL)).isFalse();
  }

  @Test
  void zombieIsDead() throws Exception {
    // A parent that never waits: the shell is replaced by a program that doesn't know its child.
    try (MessagePipe pipe = MessagePipe.open()) {
      Subprocess careless =
          Subprocess.command("/bin/sh", "-c", "sh -c 'echo $$ >&3' & exec sleep 100 3>&-")
              .pass(pipe.writeEnd(), 3)
              .start();
      pipe.handOver();
      try {
        int child = Integer.parseInt(String.valueOf(pipe.await()));
        Await.until("the zombie counts as dead", () -> ProcessRef.of(child).isEmpty());
        assertThat(ProcessHandle.of(child)).as("still to be reaped").isPresent();
      } finally {
        careless.kill(SIGKILL);
      }
      var _ = careless.await();
    }
  }

  @Test
  void numberThatNobodyHasIsNoProcess() {
    assertThat(ProcessRef.of(Integer.MAX_VALUE)).isEmpty();
    assertThat(new ProcessRef(Integer.MAX_VALUE, 1).signal(SIGKILL)).isFalse();
    assertThat(new ProcessRef(0, 1).signal(SIGKILL)).as("not our own group").isFalse();
  }
}
