/**
 * Holds back what is routed into a TUN device, and gives it back through the same device when its time has come.
 *
 *     delay.ts DEVICE SETTINGS_FILE
 *
 * The file holds a `DelaySettings`; it is read at the start and with every SIGHUP. Prints "ready", and then
 * "settings N" for the Nth time they were read. What is on its way keeps the time it was given. At most
 * `mostBytes` wait; what comes on top of that is lost, as in any queue, and counted at the end ("dropped N").
 *
 * A kernel with netem would do this better; the one that the tests must run on may have none.
 */

import { readFileSync } from "node:fs";
import { BlockList } from "node:net";
import { setImmediate } from "node:timers/promises";
import { openTunQueues } from "../../../src/io/tun.ts";
import { vnetBytes } from "../../../src/tables/packet-memory.ts";
import { DeviceLoop } from "../device-loop.ts";

export interface DelaySettings {
  /** The first rule whose prefix has the source or the destination decides; one without a prefix fits all. */
  rules: readonly { to?: string; roundTripMs: number }[];
  /** Addresses that answer from here: their answers do not come by again, so what goes to them waits for the whole round trip. */
  own: readonly string[];
}

/** Packets of one delay wait in one line: they leave in the order in which they came. */
interface Line {
  readonly fits: (packet: Uint8Array) => boolean;
  readonly delayMs: number;
  readonly waiting: { packet: Uint8Array; dueMs: number }[];
}

const mostBytes = 64 * 1024 * 1024;
const mostAtOnce = 64;
/** How long a signal may wait for its turn. */
const longestTurnMs = 20;

const [device, settingsFile] = process.argv.slice(2) as [string, string];
const loop = new DeviceLoop([{ fd: openTunQueues(device, 1)[0]!, kind: "tun" }], { scratchSlots: mostAtOnce });
let lines = readLines();
/** Of settings that count no more, as long as somebody waits in them. */
let formerLines: Line[] = [];
let waitingBytes = 0;
let dropped = 0;
let settingsRead = 0;
let ending = false;

process.on("SIGHUP", () => {
  formerLines = [...formerLines, ...lines].filter(({ waiting }) => waiting.length > 0);
  lines = readLines();
  console.log(`settings ${++settingsRead}`);
});
process.on("SIGTERM", () => {
  ending = true;
});
console.log("ready");

while (!ending) {
  giveBack(performance.now());
  for (const packet of loop.turn(timeToNextMs(performance.now()))[0]!) take(packet, performance.now());
  await setImmediate();
}
console.log(`dropped ${dropped}`);
loop.close();

function take(packet: Uint8Array, now: number): void {
  const line = lines.find(({ fits }) => fits(packet));
  waitingBytes += packet.length;
  if (waitingBytes <= mostBytes && line !== undefined) line.waiting.push({ packet, dueMs: now + line.delayMs });
  else {
    waitingBytes -= packet.length;
    dropped++;
  }
}

function giveBack(now: number): void {
  let room = mostAtOnce;
  for (const { waiting } of [...formerLines, ...lines]) {
    const later = waiting.findIndex(({ dueMs }) => dueMs > now);
    for (const { packet } of waiting.splice(0, Math.min(room, later === -1 ? waiting.length : later))) {
      loop.send(0, packet);
      waitingBytes -= packet.length;
      room--;
    }
  }
}

function timeToNextMs(now: number): number {
  const dues = [...formerLines, ...lines].flatMap(({ waiting: [first] }) => (first === undefined ? [] : [first.dueMs]));
  return Math.max(0, Math.ceil(Math.min(longestTurnMs, ...dues.map((due) => due - now))));
}

function readLines(): Line[] {
  const { rules, own } = JSON.parse(readFileSync(settingsFile, "utf8")) as DelaySettings;
  const isOwn = addressesIn(own.map((address) => `${address}/${address.includes(":") ? 128 : 32}`));
  const line = (fits: Line["fits"], delayMs: number): Line => ({ fits, delayMs, waiting: [] });
  return [...rules, { roundTripMs: 0 }].flatMap(({ to, roundTripMs }: { to?: string; roundTripMs: number }) => {
    const fits = to === undefined ? () => true : addressesIn([to]);
    return [line((packet) => isOwn(packet) && fits(packet), roundTripMs), line(fits, roundTripMs / 2)];
  });
}

/** Whether a packet's source or destination is in one of the prefixes. */
function addressesIn(prefixes: readonly string[]): (packet: Uint8Array) => boolean {
  const list = new BlockList();
  for (const prefix of prefixes) {
    const [network, bits] = prefix.split("/") as [string, string];
    list.addSubnet(network, Number(bits), network.includes(":") ? "ipv6" : "ipv4");
  }
  return (packet) => {
    const ip = Buffer.from(packet.buffer, packet.byteOffset + vnetBytes);
    if (ip[0]! >> 4 === 4) return [12, 16].some((at) => list.check([...ip.subarray(at, at + 4)].join("."), "ipv4"));
    return [8, 24].some((at) => list.check(ip.toString("hex", at, at + 16).replace(/.{4}(?!$)/g, "$&:"), "ipv6"));
  };
}
