/**
 * The control plane without the workers, for the tests beside this file: everything that `sluice up`
 * sets on the system, in its order, until SIGTERM. Prints a line of JSON per event.
 *
 *     node driver.ts '{"config": {...}, "journal": "/tmp/...", "steps": ["steering", "firewall", "watch"]}'
 */

import type { Config } from "../../../src/control/config-types.ts";
import { type Firewall, openFirewall } from "../../../src/control/firewall.ts";
import { Journal, recover } from "../../../src/control/journal.ts";
import { publishUplinks } from "../../../src/control/publish-uplinks.ts";
import { applySteering, type Steering } from "../../../src/control/steering.ts";
import { readUplinks, type UplinkSnapshot } from "../../../src/control/uplink-snapshot.ts";
import { type UplinkWatch, watchUplinks } from "../../../src/control/uplinks.ts";
import { openTunQueues } from "../../../src/io/tun.ts";
import { SharedState, uplinkWords } from "../../../src/tables/shared-state.ts";

interface DriverOptions {
  config: Config;
  journal: string;
  steps: ("steering" | "firewall" | "watch")[];
}

const { config, journal: directory, steps } = JSON.parse(process.argv[2]!) as DriverOptions;
const shared = new SharedState();
const rowBytes = uplinkWords * 4;
const say = (event: string, data: unknown = null) => process.stdout.write(`${JSON.stringify({ event, data })}\n`);

async function main(): Promise<void> {
  const recovered = await recover(config.tun.name, directory);
  say("recovered", recovered);
  const journal = new Journal(config.tun.name, directory);
  openTunQueues(config.tun.name, 1);
  const uplinks = await readUplinks(config);
  const steering = steps.includes("steering") ? await applySteering(config, uplinks, journal) : null;
  const firewall = steps.includes("firewall") ? await open(uplinks) : null;
  const watch = steps.includes("watch") ? await follow(journal, steering, firewall) : null;
  process.once("SIGTERM", async () => {
    await watch?.close();
    await steering?.undo();
    await firewall?.close();
    say("left", journal.entries);
    journal.close();
    process.exit(0);
  });
  say("ready", steering?.slot ?? null);
  setInterval(() => {}, 1000);
}

function open(uplinks: readonly UplinkSnapshot[]): Promise<Firewall> {
  return openFirewall(config, (reason) => say("lost", reason), uplinks);
}

async function follow(journal: Journal, steering: Steering | null, firewall: Firewall | null): Promise<UplinkWatch> {
  const apply = async (uplinks: readonly UplinkSnapshot[]) => {
    await firewall?.refresh(config, uplinks);
    const orders = uplinks.map(() => ({ standsIn: false, cutAll: 0, cutDisplaced: 0 }));
    publishUplinks(uplinks, orders, shared);
    await steering?.update(config, uplinks);
    const rows = Array.from(config.uplinks, (_, index) =>
      Buffer.from(shared.uplinkBytes.slice(index * rowBytes, index * rowBytes + 32)).toString("hex"),
    );
    say("uplinks", { uplinks, rows });
  };
  const watch = await watchUplinks(config, journal, {
    onUpdate: (current) => void apply(current).catch((error) => say("error", String(error))),
    onProblem: (message) => say("problem", message),
  });
  await apply(watch.snapshots);
  return watch;
}

main().catch((error) => {
  say("failed", { name: error.name, message: error.message });
  process.exit(1);
});
