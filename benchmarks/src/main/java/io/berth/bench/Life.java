package io.berth.bench;

/** A pod from its making to its end, step by step, ready to be lived many times. */
interface Life {
  /**
   * Lives it once and leaves nothing behind, also when a step fails. Several may be lived at once.
   *
   * @param name unique, usable as an id: letters, digits and hyphens
   */
  StepTimes live(String name) throws Exception;
}
