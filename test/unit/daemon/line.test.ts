/** A line as the daemon watches it: when it is probed. */
import { expect, test } from "vitest";
import { parseConfig } from "../../../src/control/config.ts";
import { describeUplink } from "../../../src/control/uplink-snapshot.ts";
import { Line } from "../../../src/daemon/line.ts";

function configured(more: string) {
  return parseConfig(
    `tun: { name: tun0, address: 10.255.255.1/30 }
steer: { interfaces: [lan0] }
uplinks:
  - { name: a, interface: wan0, ${more} }
  - { name: b, interface: wan1 }`,
    "test.yaml",
  ).config;
}

const { nat, uplinks } = configured("weight: 1");
const probed = configured("probe: { type: icmp, interval: 1s }").uplinks[0]!;

function open(onRound: () => void): Line {
  const nothing = describeUplink(uplinks[0]!, { links: [], defaultRoutes: [], defaultRoutes6: [] }, null);
  return new Line(uplinks[0]!, nothing, nat, onRound, 0);
}

test("a reload begins to probe a line that had no probe, but not when the end has come before it", async () => {
  const rounds: string[] = [];
  const running = open(() => rounds.push("running"));
  const ended = open(() => rounds.push("ended"));
  for (const line of [running, ended]) line.startProbes();
  ended.stopProbes();
  for (const line of [running, ended]) line.configure(probed, 0);
  // Without an interface there is nobody to ask, which a round says at once.
  await new Promise((resolve) => setImmediate(resolve));
  for (const line of [running, ended]) line.stopProbes();
  expect(rounds).toEqual(["running"]);
});
