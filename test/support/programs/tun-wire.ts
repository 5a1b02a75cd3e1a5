/**
 * A wire without MAC headers, as ppp has it: two TUN devices, each of which is given what the other sends.
 *
 *     tun-wire.ts LEFT RIGHT NAMESPACE       RIGHT goes to that namespace (by its name), LEFT stays here
 *
 * Prints "ready" when both are there, down and without addresses. They vanish with the program.
 */

import { execFileSync } from "node:child_process";
import { setImmediate } from "node:timers/promises";
import { openTunQueues } from "../../../src/io/tun.ts";
import { DeviceLoop } from "../device-loop.ts";

const [left, right, namespace] = process.argv.slice(2) as [string, string, string];
/** How long a signal may wait for its turn. */
const longestTurnMs = 20;

const fds = [left, right].map((name) => openTunQueues(name, 1)[0]!);
execFileSync("ip", ["link", "set", right, "netns", namespace]);
const loop = new DeviceLoop(fds.map((fd) => ({ fd, kind: "tun" })));
let ending = false;
process.on("SIGTERM", () => {
  ending = true;
});
console.log("ready");

while (!ending) {
  for (const [from, packets] of loop.turn(longestTurnMs).entries()) {
    for (const packet of packets.slice(0, 32)) loop.send(1 - from, packet);
  }
  await setImmediate();
}
