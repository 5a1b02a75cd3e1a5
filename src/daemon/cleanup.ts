/** What undoes each step of the start, run backwards; one that fails does not keep the others from running. */
import type { Log } from "../control/log.ts";

export class Cleanup {
  wentWell = true;
  readonly #steps: { name: string; undo: () => unknown }[] = [];

  add(name: string, undo: () => unknown): void {
    this.#steps.push({ name, undo });
  }

  async run(log: Log): Promise<void> {
    for (const { name, undo } of this.#steps.reverse()) {
      try {
        await undo();
      } catch (error) {
        this.wentWell = false;
        log.error({ err: error as Error }, `${name} could not be undone`);
      }
    }
  }
}
