package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class SharedOperationsTest {
  private static final Duration HOUR = Duration.ofHours(1);

  private final AtomicInteger begun = new AtomicInteger();
  private final AtomicInteger interrupted = new AtomicInteger();
  private final CountDownLatch go = new CountDownLatch(1);

  /** A caller on a thread of its own. */
  private static final class Caller {
    final CompletableFuture<String> result = new CompletableFuture<>();
    final Thread thread;

    Caller(SharedOperations<String, String> operations, Callable<String> work) {
      thread =
          Thread.startVirtualThread(() -> {
            try {
              result.complete(operations.join("key", work));
            } catch (Throwable e) {
              result.completeExceptionally(e);
            }
          });
    }

    Throwable failure() throws Exception {
      try {
        return new AssertionError("returned " + result.get());
      } catch (ExecutionException e) {
        return e.getCause() == null ? e : e.getCause();
      }
    }

    void awaitWaiting() throws Exception {
      Await.until("the caller waits", () -> thread.getState() == Thread.State.WAITING);
    }
  }

  private String untilGo() throws InterruptedException {
    int n = begun.incrementAndGet();
    try {
      go.await();
      return "result " + n;
    } catch (InterruptedException e) {
      interrupted.incrementAndGet();
      throw e;
    }
  }

  @Test
  void callersOfOneKeyShareOneResult() throws Exception {
    var operations = new SharedOperations<String, String>("test", HOUR);
    List<Caller> callers = new ArrayList<>();
    for (int i = 0; i < 10; i++) {
      callers.add(new Caller(operations, this::untilGo));
    }
    for (Caller caller : callers) {
      caller.awaitWaiting();
    }
    assertThat(operations.size()).isEqualTo(1);
    go.countDown();
    for (Caller caller : callers) {
      assertThat(caller.result.get()).isEqualTo("result 1");
    }
    assertThat(operations.size()).isZero();
  }

  @Test
  void finishedOperationIsNotRemembered() throws Exception {
    var operations = new SharedOperations<String, String>("test", HOUR);
    go.countDown();
    assertThat(operations.join("key", this::untilGo)).isEqualTo("result 1");
    assertThat(operations.join("key", this::untilGo)).isEqualTo("result 2");
  }

  @Test
  void otherKeysDontWait() throws Exception {
    var operations = new SharedOperations<String, String>("test", HOUR);
    Caller slow = new Caller(operations, this::untilGo);
    Await.until("begun", () -> begun.get() == 1);
    assertThat(operations.join("other", () -> "at once")).isEqualTo("at once");
    go.countDown();
    assertThat(slow.result.get()).isEqualTo("result 1");
  }

  @Test
  void failureIsTheSameForAll() throws Exception {
    var operations = new SharedOperations<String, String>("test", HOUR);
    Callable<String> work =
        () -> {
          go.await();
          throw new IllegalStateException("no");
        };
    Caller first = new Caller(operations, work);
    Caller second = new Caller(operations, work);
    first.awaitWaiting();
    second.awaitWaiting();
    go.countDown();
    assertThat(first.failure()).isInstanceOf(IllegalStateException.class).hasMessage("no");
    assertThat(second.failure()).isSameAs(first.failure());
  }

  @Test
  void workGoesOnWhileAnybodyWaits() throws Exception {
    var operations = new SharedOperations<String, String>("test", Duration.ZERO);
    Caller first = new Caller(operations, this::untilGo);
    Await.until("begun", () -> begun.get() == 1);
    Caller second = new Caller(operations, this::untilGo);
    second.awaitWaiting();
    first.thread.interrupt();
    assertThat(first.failure()).isInstanceOf(InterruptedException.class);
    go.countDown();
    assertThat(second.result.get()).isEqualTo("result 1");
  }

  @Test
  void workIsInterruptedAtOnceWithoutLinger() throws Exception {
    var operations = new SharedOperations<String, String>("test", Duration.ZERO);
    Caller only = new Caller(operations, this::untilGo);
    Await.until("begun", () -> begun.get() == 1);
    only.thread.interrupt();
    Await.until("interrupted", () -> interrupted.get() == 1);
    Await.until("gone", () -> operations.size() == 0);
  }

  @Test
  void workIsInterruptedWhenTheLingerIsOver() throws Exception {
    var operations = new SharedOperations<String, String>("test", Duration.ofMillis(50));
    Caller only = new Caller(operations, this::untilGo);
    Await.until("begun", () -> begun.get() == 1);
    only.thread.interrupt();
    assertThat(only.failure()).isInstanceOf(InterruptedException.class);
    Await.until("interrupted", () -> interrupted.get() == 1);
  }

  @Test
  void callerWhoComesBackDuringTheLingerGetsTheResult() throws Exception {
    var operations = new SharedOperations<String, String>("test", Duration.ofSeconds(3));
    Caller first = new Caller(operations, this::untilGo);
    Await.until("begun", () -> begun.get() == 1);
    first.thread.interrupt();
    assertThat(first.failure()).isInstanceOf(InterruptedException.class);
    Caller again = new Caller(operations, this::untilGo);
    again.awaitWaiting();
    long left = System.nanoTime();
    Await.until("the linger is over", () -> System.nanoTime() - left > 3_500_000_000L);
    assertThat(interrupted).hasValue(0);
    go.countDown();
    assertThat(again.result.get()).isEqualTo("result 1");
  }

  /** The work was given up but has things to undo: the next one must neither join nor overlap. */
  @Test
  void callerWhoComesWhileGivenUpWorkEndsBeginsAnewAfterIt() throws Exception {
    var operations = new SharedOperations<String, String>("test", Duration.ZERO);
    CountDownLatch undone = new CountDownLatch(1);
    AtomicInteger running = new AtomicInteger();
    Caller first =
        new Caller(
            operations,
            () -> {
              running.incrementAndGet();
              try {
                return untilGo();
              } catch (InterruptedException e) {
                undone.await();
                running.decrementAndGet();
                throw e;
              }
            });
    Await.until("begun", () -> begun.get() == 1);
    first.thread.interrupt();
    Await.until("interrupted", () -> interrupted.get() == 1);
    Caller next = new Caller(operations, () -> "anew, beside " + running.get());
    next.awaitWaiting();
    assertThat(next.result).isNotDone();
    undone.countDown();
    assertThat(next.result.get()).isEqualTo("anew, beside 0");
  }

  @Test
  void stagesOfTheFirstCallerAreTimed() throws Exception {
    var operations = new SharedOperations<String, String>("test", HOUR);
    Stages.Log log = new Stages.Log();
    String result =
        Stages.record(
            log,
            () ->
                operations.join(
                    "key", () -> Stages.<String, RuntimeException>time("work", () -> "x")));
    assertThat(result).isEqualTo("x");
    assertThat(log.stages()).singleElement().satisfies(s -> assertThat(s.name()).isEqualTo("work"));
  }
}
