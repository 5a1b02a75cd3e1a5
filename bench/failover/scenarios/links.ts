/** What happens to interfaces: set down, unplugged, another address, deleted and made again. The other line must never notice. */

import type { Lab } from "../../../test/support/lab.ts";
import { record } from "../experiment.ts";
import { begunIn, endedIn, momentOf, rateChangePercent, transfersOn, unconnected, useAfter } from "../figures.ts";
import type { Figure, Row, RunContext, Scenario } from "../types.ts";
import { atLeast, atMost } from "./promises.ts";

interface Mishap {
  readonly name: string;
  readonly title: string;
  readonly away: (lab: Lab) => Promise<unknown>;
  readonly back: (lab: Lab) => Promise<unknown>;
}

const route = "ip route replace default via 203.0.113.1 dev wan0 metric 100";
const newAddress = "203.0.113.7";

const mishaps: readonly Mishap[] = [
  {
    name: "down",
    title: "set down",
    away: (lab) => inRouter(lab, "ip link set wan0 down"),
    // As a DHCP client or ifupdown would: the kernel forgets the route of a link that is set down.
    back: (lab) => inRouter(lab, `ip link set wan0 up; ${route}`),
  },
  {
    name: "cable",
    title: "unplugged",
    away: (lab) => lab.exec("isp1", ["ip", "link", "set", "subscriber", "down"]),
    back: (lab) => lab.exec("isp1", ["ip", "link", "set", "subscriber", "up"]),
  },
  {
    name: "deleted",
    title: "deleted and made again",
    away: (lab) => inRouter(lab, "ip link delete wan0"),
    back: makeAgain,
  },
  {
    name: "address",
    title: "given another address",
    away: (lab) => inRouter(lab, "ip address delete 203.0.113.2/24 dev wan0"),
    back: giveNewAddress,
  },
];

async function inRouter(lab: Lab, command: string): Promise<void> {
  await lab.exec("router", ["sh", "-ec", command]);
}

async function makeAgain(lab: Lab): Promise<void> {
  const isp1 = lab.namespace("isp1");
  const veth = `ip link add wan0 type veth peer name subscriber netns ${isp1}`;
  await inRouter(lab, veth);
  await lab.exec("isp1", [
    "sh",
    "-ec",
    "ip address add 203.0.113.1/24 dev subscriber; ip link set subscriber up; ip route replace 203.0.113.2 dev subscriber",
  ]);
  await inRouter(lab, `ip address add 203.0.113.2/24 dev wan0; ip link set wan0 up; ${route}`);
}

async function giveNewAddress(lab: Lab): Promise<void> {
  const rule = `flush chain ip provider ingress; add rule ip provider ingress iifname "subscriber" ip saddr != ${newAddress} counter name spoofed drop`;
  await lab.exec("isp1", ["nft", rule]);
  await lab.exec("server", ["ip", "route", "replace", `${newAddress}/32`, "via", "192.0.2.65", "src", "192.0.2.10"]);
  await inRouter(lab, `ip address add ${newAddress}/24 dev wan0; ${route}`);
}

const firstAt = 2;
const awaySeconds = 3;
const backSeconds = 5.5;

export const links: Scenario = {
  name: "links",
  title: "Interfaces go and come back",
  about: `isp1's interface is, one after the other, ${mishaps.map(({ title }) => title).join(", ")}: each time away for ${awaySeconds} s`,
  rows: mishaps.flatMap(({ name, title }): Row[] => [
    {
      name: `${name} lost`,
      title: `${title}: transfers on the other line that ended`,
      unit: "",
      target: "0",
      keeps: atMost(0),
    },
    { name: `${name} rate`, title: "… their rate, against before", unit: "%", target: "≥ -10 %", keeps: atLeast(-10) },
    {
      name: `${name} unconnected`,
      title: "… new connections that never connected",
      unit: "",
      target: "0",
      keeps: atMost(0),
    },
    {
      name: `${name} used`,
      title: "… used again by itself after",
      unit: "s",
      target: "at all",
      keeps: (figure) => figure !== null,
    },
  ]),
  contenders: ["sluice", "kernel", "ping-and-mark"],
  quick: [],
  picture: false,
  run,
};

async function run(context: RunContext) {
  const period = awaySeconds + backSeconds;
  const seconds = firstAt + mishaps.length * period;
  const recording = await record(context, {
    wishes: { uplink: { holdDown: "500ms" } },
    load: { connectionsPerSecond: 100, transfers: 30 },
    seconds,
    acts: mishaps.flatMap(({ name, away, back }, index) => [
      { at: firstAt + index * period, what: `${name}: away`, run: ({ lab }: { lab: Lab }) => away(lab) },
      { at: firstAt + index * period + awaySeconds, what: `${name}: back`, run: ({ lab }: { lab: Lab }) => back(lab) },
    ]),
  });
  const figures: Record<string, Figure> = {};
  for (const [index, { name }] of mishaps.entries()) {
    const away = momentOf(recording, `${name}: away`);
    const back = momentOf(recording, `${name}: back`);
    const end = firstAt + (index + 1) * period;
    const others = transfersOn(recording, "isp2", away);
    figures[`${name} lost`] = endedIn(others, away, end);
    figures[`${name} rate`] = rateChangePercent(recording, others, firstAt, away, back);
    figures[`${name} unconnected`] = unconnected(begunIn(recording, away, end));
    figures[`${name} used`] = useAfter(recording, "isp1", back, end);
  }
  return { figures, recording };
}
