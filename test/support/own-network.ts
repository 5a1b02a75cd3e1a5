/** The network of a fact program's own namespace. Refuses to work in a namespace that has interfaces already. */

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

export interface Link {
  name: string;
  ifindex: number;
  mac: Uint8Array;
}

/** Makes sure that this is a fresh namespace, and brings loopback up. */
export function enterOwnNetwork(): void {
  const names = readFileSync("/proc/net/dev", "utf8").match(/^ *\S+:/gm) ?? [];
  if (names.length !== 1) throw new Error(`run this with 'unshare --net': the namespace has ${names.join(" ")}`);
  ip("link set lo up");
}

/** `ip` with words separated by blanks. Throws with its message when it fails. */
export function ip(words: string): string {
  return execFileSync("ip", words.split(" "), { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

export function sysctl(path: string, value: string | number): void {
  writeFileSync(`/proc/sys/net/${path}`, String(value));
}

/** Two ends of a wire, both in this namespace and up, without IPv6 chatter. */
export function makeWire(left: string, right: string): [Link, Link] {
  sysctl("ipv6/conf/default/disable_ipv6", 1);
  ip(`link add ${left} type veth peer name ${right}`);
  ip(`link set ${left} up`);
  ip(`link set ${right} up`);
  const ends: [Link, Link] = [describeLink(left), describeLink(right)];
  ends.forEach(waitUntilUp);
  return ends;
}

/** Sets a link down and up again. The kernel tells the far end in its own time, and until then that drops what it sends. */
export function interruptLink(link: Link, farEnd: Link): void {
  ip(`link set ${link.name} down`);
  ip(`link set ${link.name} up`);
  waitUntilUp(link);
  waitUntilUp(farEnd);
}

/** Throws when the link is not up within 5 s. */
export function waitUntilUp({ name }: Link): void {
  for (let tries = 0; tries < 500; tries++) {
    const [link] = JSON.parse(ip(`-j link show dev ${name}`)) as [{ operstate: string }];
    if (link.operstate === "UP") return;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
  throw new Error(`${name} is not up`);
}

export function describeLink(name: string): Link {
  const [link] = JSON.parse(ip(`-j link show dev ${name}`)) as [{ ifindex: number; address?: string }];
  return { name, ifindex: link.ifindex, mac: Buffer.from(link.address?.replaceAll(":", "") ?? "", "hex") };
}
