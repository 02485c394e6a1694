package io.berth.linux;

/**
 * Takes undo steps that failed, keeps them over a crash and retries them. {@link DebtLedger} is the
 * real one.
 */
public interface Debts {
  /** Records that {@code debt} is owed; owing the same again changes nothing but the cause. */
  void owe(Debt debt, Throwable cause);
}
