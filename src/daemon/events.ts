/** What the log and the hooks are told of the uplinks. */
import type { Config } from "../control/config-types.ts";
import type { Hooks } from "../control/hooks.ts";
import type { Log } from "../control/log.ts";
import { isVacant } from "../control/uplink-seats.ts";
import type { UplinkSnapshot } from "../control/uplink-snapshot.ts";
import type { Ipv6Snapshot } from "../control/uplink-snapshot6.ts";
import type { Standing } from "../control/uplink-standing.ts";
import type { Line } from "./line.ts";

/** An uplink stands otherwise than before. */
export function tellStanding(log: Log, hooks: Hooks, { config, snapshot, standing }: Line, before: Standing): void {
  const fields = { uplink: config.name, interface: snapshot.interface };
  const { state, reason, degraded } = standing;
  const run = (action: "up" | "down" | "degraded") =>
    hooks.run({ action, uplink: config.name, interface: snapshot.interface, address: snapshot.address, state, reason });
  if (state !== before.state) {
    if (state === "up") log.info(fields, "uplink is up");
    else log.warn({ ...fields, reason }, state === "down" ? "uplink is down" : `uplink is ${state}`);
    run(state === "up" ? "up" : "down");
  }
  if (degraded === before.degraded) return;
  if (degraded) {
    log.warn({ ...fields, reason }, "uplink is degraded");
    run("degraded");
  } else if (state === "up" && before.state === "up") {
    log.info(fields, "uplink is well again");
    run("up");
  }
}

/** The links are otherwise than before. */
export function tellLinks(
  log: Log,
  hooks: Hooks,
  config: Config,
  current: readonly UplinkSnapshot[],
  previous: readonly UplinkSnapshot[],
): void {
  for (const [place, uplink] of current.entries()) {
    const before = previous[place]!;
    if (isVacant(uplink) || before.name !== uplink.name) continue;
    const fields = { uplink: uplink.name, interface: uplink.interface };
    tellIpv6(log, fields, uplink.ipv6, before.ipv6);
    // What is gone is the reason of being down.
    const { address, gateway, mtu, present } = uplink;
    if (address !== null && address !== before.address) {
      log.info({ ...fields, address }, "uplink has another address");
      const reason = `address ${address}`;
      hooks.run({ action: "address", ...fields, address, state: uplink.state, reason });
    }
    if (gateway !== null && gateway !== before.gateway) log.info({ ...fields, gateway }, "uplink has another gateway");
    if (present && before.present && mtu !== before.mtu) log.info({ ...fields, mtu }, "uplink has another MTU");
    const name = config.uplinks[place]!.interface;
    if (present && before.present && uplink.interface !== before.interface)
      log.info({ ...fields, configured: name }, "uplink's interface has another name");
  }
}

/** Of an uplink without IPv6 there is nothing to say. */
function tellIpv6(log: Log, uplink: object, now: Ipv6Snapshot, before: Ipv6Snapshot): void {
  const { address, gateway } = now;
  const fields = { ...uplink, address, gateway };
  if (now.state !== before.state || now.reason !== before.reason) {
    if (now.state === "up") log.info(fields, "IPv6 on the uplink is up");
    else if (before.state === "up") log.warn({ ...fields, reason: now.reason }, "IPv6 on the uplink is down");
  } else if (address !== before.address) log.info(fields, "uplink has another IPv6 address");
}
