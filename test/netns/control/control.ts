/** The control plane running in a lab's router, and what it says; see driver.ts. */

import { fileURLToPath } from "node:url";
import type { Config } from "../../../src/control/config-types.ts";
import type { Slot } from "../../../src/control/steering-plan.ts";
import type { UplinkSnapshot } from "../../../src/control/uplink-snapshot.ts";
import type { Lab } from "../../support/lab.ts";
import { plainUplink } from "../../support/plain-uplink.ts";
import type { Running } from "../../support/process.ts";

const driver = fileURLToPath(new URL("driver.ts", import.meta.url));

export const tun = "sluice0";
export const tunAddress = "10.255.255.1";

export interface UplinksEvent {
  uplinks: UplinkSnapshot[];
  /** The first 32 bytes of each uplink's row in the shared state, as hexadecimal digits. */
  rows: string[];
}

/** A configuration for the lab's first two uplinks; `more` replaces whole keys. */
export function controlConfig(more: Partial<Config> = {}): Config {
  return {
    file: "test",
    tun: { name: tun, address: tunAddress, prefixLength: 30 },
    steer: { interfaces: ["lan0"], local: true },
    uplinks: [
      { name: "isp1", interface: "wan0", ...plainUplink },
      { name: "isp2", interface: "wan1", ...plainUplink },
    ],
    nat: { firstPort: 16_384, lastPort: 32_767 },
    forwards: [],
    rules: [],
    failMode: "open",
    ...more,
  } as Config;
}

export class Control {
  readonly process: Running;

  constructor(
    lab: Lab,
    config: Config = controlConfig(),
    steps = ["steering", "firewall", "watch"],
    env: Record<string, string> = {},
  ) {
    const options = JSON.stringify({ config, journal: lab.directory, steps });
    this.process = lab.spawn("router", [process.execPath, driver, options], env);
  }

  /** Starts it and waits until everything is set. */
  static async start(lab: Lab, config?: Config, steps?: string[], env?: Record<string, string>): Promise<Control> {
    const control = new Control(lab, config, steps, env);
    await control.process.waitFor(/"ready"/);
    return control;
  }

  get slot(): Slot {
    return this.events("ready")[0] as Slot;
  }

  /** What was said under this name, oldest first. */
  events(name: string): unknown[] {
    const lines = this.process.stdout.split("\n").slice(0, -1);
    const events = lines.map((line) => JSON.parse(line) as { event: string; data: unknown });
    return events.filter(({ event }) => event === name).map(({ data }) => data);
  }

  /** The uplink's state as last reported. */
  uplink(name: string): UplinkSnapshot {
    const last = this.events("uplinks").at(-1) as UplinksEvent;
    return last.uplinks.find((uplink) => uplink.name === name)!;
  }

  /** Waits until the last report shows the uplink like this. */
  async untilUplink(name: string, wanted: Partial<UplinkSnapshot>): Promise<void> {
    const keys = Object.keys(wanted) as (keyof UplinkSnapshot)[];
    await until(
      () => keys.every((key) => this.uplink(name)[key] === wanted[key]),
      () => `${name} to become ${JSON.stringify(wanted)}; it is ${JSON.stringify(this.uplink(name))}`,
    );
  }

  /** Ends it as an administrator would. */
  async stop(): Promise<void> {
    const status = await this.process.stop();
    if (status !== 0) throw new Error(`the driver ended with ${status}:\n${this.process.output}`);
  }

  /** Ends it as the kernel's out-of-memory killer would. */
  async kill(): Promise<void> {
    await this.process.stop("SIGKILL");
  }
}

/** Asks again and again; throws what `describe` says when it does not become true within 20 s. */
export async function until(holds: () => boolean | Promise<boolean>, describe: () => string): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${describe()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
