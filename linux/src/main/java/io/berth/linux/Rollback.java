package io.berth.linux;

import java.util.ArrayDeque;
import java.util.Deque;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The undo of an operation of several steps, as an object.
 *
 * <pre>{@code
 * try (Rollback rollback = new Rollback("run sandbox " + id, debts)) {
 *   rollback.add(new Debt("unmount", path), () -> Mounts.detach(path));
 *   Mounts.tmpfs(path, ...);
 *   ...
 *   rollback.commit();
 * }
 * }</pre>
 *
 * <p>Closed without {@link #commit}, it undoes the steps in reverse, each at least tried once. A
 * step is added before it is taken, so undo actions must bear that nothing was done. One that fails
 * becomes a debt. Undoing runs with the interrupt flag cleared, because a cancelled call has to
 * clean up too.
 */
public final class Rollback implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(Rollback.class);

  private final String operation;
  private final Debts debts;
  private final Deque<Step> steps = new ArrayDeque<>();
  private boolean committed;

  /** What undoes one step. */
  @FunctionalInterface
  public interface Undo {
    void run() throws Exception;
  }

  private record Step(Debt debt, Undo undo) {}

  public Rollback(String operation, Debts debts) {
    this.operation = operation;
    this.debts = debts;
  }

  /**
   * Registers the undo of the step that comes next; {@code debt} is what stays owed when the undo
   * fails.
   */
  public void add(Debt debt, Undo undo) {
    steps.push(new Step(debt, undo));
  }

  /** The operation has succeeded: nothing will be undone. */
  public void commit() {
    committed = true;
  }

  @Override
  public void close() {
    if (committed) {
      return;
    }
    boolean interrupted = false;
    try {
      for (Step step : steps) {
        interrupted |= Thread.interrupted(); // an undo may have set it again
        try {
          step.undo().run();
        } catch (InterruptedException e) {
          interrupted = true;
          debts.owe(step.debt(), e);
        } catch (Throwable e) { // an Error must not keep the other steps from being undone

          log.warn(
              "{}: could not undo {} {}, it is kept as a debt: {}",
              operation,
              step.debt().kind(),
              step.debt().subject(),
              e.toString());
          debts.owe(step.debt(), e);
        }
      }
      steps.clear();
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }
}
