package io.berth.bench;

import io.berth.linux.Debts;

/** What the benchmark itself could not clean up: a person is told, nothing tries again. */
final class Leftovers {
  static final Debts REPORTED =
      (debt, cause) ->
          System.err.println(
              "bench: left behind, remove it by hand: "
                  + debt.kind()
                  + " "
                  + debt.subject()
                  + ": "
                  + cause.getMessage());

  private Leftovers() {}
}
