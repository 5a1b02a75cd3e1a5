/** The scenarios, in the order in which they run and are reported. */
import type { Lab } from "../../test/support/lab.ts";
import type { Scenario } from "../types.ts";
import { prepareConnect, runConnect, settleConnect } from "./connect.ts";
import { runPing } from "./latency.ts";
import { type Direction, runTcp } from "./tcp.ts";
import { runUdp } from "./udp.ts";

const usual = ["kernel", "sluice-2"];
/** Where a second worker should show. */
const withOneWorker = ["kernel", "sluice-1", "sluice-2"];

/** Packets that a flow of the UDP scenario has under way, 32 flows a client: enough to hide a wake-up, little enough for queues of 1000. */
const window = 16;

export const scenarios: readonly Scenario[] = [
  {
    ...tcp(1, "up"),
    name: "tcp-1-up",
    quick: true,
    title: "one TCP stream, client to server",
    target: 0.85,
    expected:
      "0.85: super-packets of 64 KB cross the kernel boundary twice more, about 15 µs of copying each, beside some 50 µs that sender, receiver and the kernel's path take for them; over two cores part of that overlaps",
  },
  {
    ...tcp(1, "down"),
    name: "tcp-1-down",
    quick: true,
    title: "one TCP stream, server to client",
    target: 0.85,
    expected: "0.85, as up: the path back costs the same two copies",
  },
  {
    ...tcp(8, "up"),
    name: "tcp-8-up",
    quick: true,
    title: "eight TCP streams, client to server",
    target: 0.75,
    contenders: withOneWorker,
    expected: "0.75: the copies no longer hide on an idle core, since two cores are full in both cases",
  },
  {
    ...tcp(8, "down"),
    name: "tcp-8-down",
    quick: true,
    title: "eight TCP streams, server to client",
    target: 0.75,
    expected: "0.75, as up",
  },
  {
    ...tcp(8, "both"),
    name: "tcp-8-both",
    quick: false,
    title: "eight TCP streams each way at once (sum)",
    target: 0.75,
    expected: "0.75: the same work a byte",
  },
  {
    ...tcp(1, "up"),
    name: "mtu-gro-1",
    quick: true,
    title: "MTU-size senders, GRO on the router, one stream",
    target: 1,
    prepare: mtuSizeSenders,
    expected:
      "1.0 to 1.3: sender and GRO work at every 1500 bytes and are the same for both, and what the router handles is super-packets again, so the two copies weigh less",
  },
  {
    ...tcp(8, "up"),
    name: "mtu-gro-8",
    quick: false,
    title: "MTU-size senders, GRO on the router, eight streams",
    target: 1,
    prepare: mtuSizeSenders,
    expected: "0.9 to 1.0: as with one stream, but with no idle core",
  },
  {
    ...tcp(1, "up"),
    name: "no-offload",
    quick: false,
    title: "no offload anywhere, one stream",
    target: null,
    prepare: noOffload,
    expected: "0.6: every 1500 bytes cost a read, a message and 1 µs of copying besides the kernel's own 3 µs",
  },
  {
    ...udp(),
    name: "udp-64",
    quick: true,
    title: "64-byte UDP, as much as arrives",
    about: `Both clients send 64 bytes of payload in 32 flows each, at most ${window} packets of a flow under way, so that none are made only to be thrown away.`,
    target: 0.9,
    expected:
      "0.9: a system call a packet on the TUN and a shared one on the socket, 1 to 1.5 µs, on top of some 3 µs for the path; but the forwarder works in batches beside the senders",
    run: (context) => runUdp(context, window),
  },
  {
    ...udp(),
    name: "udp-64-flood",
    quick: false,
    title: "64-byte UDP, senders without a brake",
    about: "The same, but the senders never wait: what is left of the forwarding when they take all they can get.",
    target: null,
    expected:
      "0.5: the kernel forwards on the sender's own time, which slows the sender; sluice competes with it, and the TUN's queue overflows",
    run: (context) => runUdp(context, 0),
  },
  {
    name: "connect",
    quick: true,
    title: "connect and close",
    about:
      "Two processes with 64 connections under way each connect to 62 addresses of the server, which closes at once; then the client closes: seven packets a connection.",
    unit: "connections/s",
    better: "higher",
    workUnit: "thousand connections",
    target: 0.85,
    contenders: withOneWorker,
    usesAllUplinks: true,
    expected:
      "0.85: seven small packets at about 1.5 µs more each, against 60 to 80 µs for two sockets, and the kernel's connection tracking is saved",
    prepare: prepareConnect,
    run: runConnect,
    settle: settleConnect,
  },
  {
    name: "ping",
    quick: true,
    title: "ping, idle, median",
    about: "200 pings a second, each finding the path asleep.",
    unit: "µs",
    better: "lower",
    workUnit: "ping",
    target: null,
    contenders: usual,
    usesAllUplinks: false,
    expected: "3: two wake-ups of a sleeping worker, 30 to 50 µs each, on top of 30 to 40 µs",
    run: runPing,
  },
];

function tcp(streams: number, direction: Direction) {
  return {
    about: `iperf3, ${streams} ${streams === 1 ? "stream" : "streams"}${direction === "both" ? " each way" : ""}.`,
    unit: "Gbit/s",
    better: "higher",
    workUnit: "GB",
    contenders: usual,
    usesAllUplinks: streams > 1,
    run: (context) => runTcp(context, streams, direction),
  } as const satisfies Partial<Scenario>;
}

function udp() {
  return {
    unit: "packets/s",
    better: "higher",
    workUnit: "million packets",
    contenders: withOneWorker,
    usesAllUplinks: true,
  } as const satisfies Partial<Scenario>;
}

/** As a real network card delivers: packets come in MTU-size, the router joins them, and sends super-packets. */
async function mtuSizeSenders(lab: Lab): Promise<void> {
  await lab.offload("off", "client1", "client2", "server");
  await lab.gro("on", "router");
}

async function noOffload(lab: Lab): Promise<void> {
  await lab.offload("off");
  await lab.gro("off");
}
