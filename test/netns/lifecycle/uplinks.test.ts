/**
 * Uplinks that go and come back in every way: no new flows while they are down, back by themselves, and a
 * transfer over the other uplink loses nothing all the while. The topology is the lab's (scripts/lab).
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FlowReport } from "../../../src/control/report.ts";
import { type Isp, type Lab, openLab, uplinkInterface } from "../../support/lab.ts";
import { Sluice } from "../../support/sluice.ts";
import type { Sniffer } from "../../support/sniffer.ts";
import { gatewayAddress, uplinkAddress } from "../../support/topology.ts";
import { flowsOf, logOf, smallConfig, startSluice, statusOf, unheldUplinks } from "./daemon.ts";
import { Connections, connectTimes, kinds, Stream, serve } from "./load.ts";
import { until } from "./until.ts";

/** A pcap filter for resets of translated ports that the router's stack says itself: it starts at TTL 64. */
function stackResets(address: string): string {
  return `src host ${address} and ip[8] = 64 and tcp[tcpflags] & tcp-rst != 0 and src portrange 16384-32767`;
}

describe.each([
  [1, "isp1", "isp2"],
  [2, "isp2", "isp1"],
] as const)("with %i workers and a stream over each uplink, one of them", (workers, other, victim) => {
  let lab: Lab;
  let sluice: Sluice;
  let sniffer: Sniffer;
  const streams = {} as Record<Isp, { stream: Stream; flow: FlowReport }>;
  const wan = uplinkInterface[victim];

  const router = async (command: string) => (await lab.exec("router", ["sh", "-ec", command])).stdout;
  const provider = async (command: string) => (await lab.exec(victim, ["sh", "-ec", command])).stdout;
  const defaultRoute = () =>
    `ip route replace default via ${gatewayAddress[victim]} dev ${wan} metric ${victim === "isp1" ? 100 : 200}`;

  const reportOf = async (name: Isp) => (await statusOf(sluice)).uplinks.find((uplink) => uplink.name === name)!;
  const becomes = (state: string, reason: RegExp) =>
    until(async () => {
      const report = await reportOf(victim);
      return report.state === state && reason.test(report.reason);
    }, `${victim} ${state}, ${reason}`);
  const waysOut = async () => kinds(await connectTimes(lab, 30));
  /** An uplink that came up is told to the workers when the drop guards it, a moment after it is up. */
  const bothGetConnections = () => until(async () => (await waysOut()).join() === "isp1,isp2", "connections by both");

  beforeAll(async () => {
    lab = await openLab({ name: "uplinks", masquerade: true });
    await serve(lab);
    // The kernel asks a gateway again every 1 to 2 seconds; by default it is content with its answer for up to 45.
    for (const name of ["wan0", "wan1"]) {
      const settings = { base_reachable_time_ms: 1000, delay_first_probe_time: 1, interval_probe_time_ms: 1000 };
      const words = Object.entries(settings).map(([key, value]) => `net.ipv4.neigh.${name}.${key}=${value}`);
      await lab.exec("router", ["sysctl", "-qw", ...words]);
    }
    sniffer = await lab.sniff();
    // Its flows wait for it: what else may become of them is tested elsewhere.
    const uplinks = unheldUplinks(lab, { onDown: "keep" });
    sluice = await startSluice(lab, smallConfig(lab, { workers, uplinks }));
    while (!(other in streams && victim in streams)) {
      const stream = new Stream(lab);
      const flow = await flowFrom(await stream.ready());
      if (flow.uplink in streams) await stream.stop();
      else streams[flow.uplink as Isp] = { stream, flow };
    }
  });
  afterAll(() => lab.close());

  async function flowFrom(port: number): Promise<FlowReport> {
    return (await flowsOf(sluice)).find((flow) => flow.protocol === "udp" && flow.sourcePort === port)!;
  }

  /** Takes the victim away, looks, gives it back, looks. */
  async function comesAndGoes(
    away: () => Promise<unknown>,
    reason: RegExp,
    back: () => Promise<unknown>,
  ): Promise<void> {
    const logged = logOf(sluice).length;
    await away();
    await becomes("down", reason);
    expect(await waysOut()).toEqual([other]);
    await back();
    await becomes("up", /^$/);
    await bothGetConnections();
    // One line a change of state; what is in between is a change of reason at most.
    const lines = logOf(sluice)
      .slice(logged)
      .filter((line) => line.uplink === victim && / is (up|down)$/.test(line.msg));
    expect(lines.at(0)).toMatchObject({ level: "warn", msg: "uplink is down" });
    expect(lines.at(-1)).toMatchObject({ level: "info", msg: "uplink is up" });
    expect(lines.length).toBeLessThanOrEqual(4);
  }

  it("loses its carrier and gets it back", () =>
    comesAndGoes(
      () => lab.carrier(victim, "off"),
      /^no carrier$/,
      () => lab.carrier(victim, "on"),
    ));

  it("is set down and up", () =>
    comesAndGoes(
      () => router(`ip link set ${wan} down`),
      /^administratively down$/,
      // The kernel took the default route away, and nobody puts it back: the gateway is remembered.
      () => router(`ip link set ${wan} up`),
    ));

  // The kernel's patience, several seconds, is the same for any number of workers.
  const once = workers === 1 ? it : () => {};
  once("has a gateway that stops answering ARP, and answers again", () =>
    comesAndGoes(
      () => provider("ip link set subscriber arp off; ip neigh flush dev subscriber"),
      /^gateway does not answer ARP$/,
      () => provider("ip link set subscriber arp on"),
    ),
  );

  it("loses its address and gets it back", () =>
    comesAndGoes(
      () => router(`ip address flush dev ${wan}`),
      /^no address$/,
      () => router(`ip address add ${uplinkAddress[victim]}/24 dev ${wan}; ${defaultRoute()}`),
    ));

  it("is deleted and made again", async () => {
    expect(await sniffer.stop()).toEqual([]);
    await comesAndGoes(
      () => router(`ip link delete ${wan}`),
      /^interface missing$/,
      () => remake(),
    );
    sniffer = await lab.sniff();
  });

  it("has another MTU, which the TUN follows", async () => {
    const mtu = async () => /mtu (\d+)/.exec(await router("ip link show sluice0"))![1];
    expect(await mtu()).toBe("1500");
    await lab.verb("mtu", victim, "2000");
    await until(async () => (await mtu()) === "2000");
    expect(await waysOut()).toEqual(["isp1", "isp2"]);
    await lab.verb("mtu", victim, "1500");
    await until(async () => (await mtu()) === "1500");
    expect(logOf(sluice).filter((line) => line.msg === "uplink has another MTU")).toMatchObject([
      { uplink: victim, mtu: 2000 },
      { uplink: victim, mtu: 1500 },
    ]);
  });

  it("still carries the flow that began there before all this, with its mapping", async () => {
    const { sourcePort, mappedPort } = streams[victim].flow;
    const flow = await flowFrom(sourcePort);
    expect(flow).toMatchObject({ uplink: victim, mappedPort });
    await until(async () => (await flowFrom(sourcePort)).rxPackets > flow.rxPackets + 20);
  });

  it("has another address, which new flows use, and the kernel's own stack never answers for", async () => {
    expect(await sniffer.stop()).toEqual([]);
    const { old, fresh } = { old: uplinkAddress[victim], fresh: `${uplinkAddress[victim]}09` };
    // The provider and the server know the subscriber by both from now on.
    const foreign = `iifname subscriber ip saddr != { ${old}, ${fresh} }`;
    await provider(
      `nft "flush chain ip provider ingress; add rule ip provider ingress ${foreign} counter name spoofed drop"`,
    );
    const near = (await lab.exec("server", ["ip", "route", "show", old])).stdout;
    await lab.exec("server", ["sh", "-ec", `ip route add ${near.replace(old, `${fresh}/32`)}`]);
    const resets = lab.spawn(victim, [
      "tcpdump",
      "-nnl",
      "--immediate-mode",
      "-i",
      "subscriber",
      "-Q",
      "in",
      stackResets(fresh),
    ]);
    await resets.waitFor(/listening on/);

    const connections = new Connections(lab);
    await connections.untilSucceeding(20);
    await router(`ip address delete ${old}/24 dev ${wan}; ip address add ${fresh}/24 dev ${wan}; ${defaultRoute()}`);
    await until(async () => (await reportOf(victim)).address === fresh);
    await until(() => connections.outcomes.includes(fresh), `connections by ${fresh}`);
    await connections.untilSucceeding(100);
    await connections.stop();
    expect(kinds(connections.ways)).toEqual([other, fresh].sort());
    expect(logOf(sluice)).toContainEqual(
      expect.objectContaining({ uplink: victim, address: fresh, msg: "uplink has another address" }),
    );
    await resets.stop("SIGINT");
    expect(resets.stdout.trim()).toBe("");
  });

  it("was never noticed by the other's stream, and the log has lines for changes of state only", async () => {
    const { stream, flow } = streams[other];
    expect(await flowFrom(flow.sourcePort)).toMatchObject({ uplink: other, mappedPort: flow.mappedPort });
    const { sent, lost } = await stream.stop();
    expect(sent).toBeGreaterThan(500);
    expect(lost, `of ${sent}`).toEqual([]);
    const messages = logOf(sluice)
      .filter((line) => line.uplink === victim && line.msg !== "uplink")
      .map((line) => line.msg);
    expect([...new Set(messages)].sort()).toEqual([
      "uplink has another MTU",
      "uplink has another address",
      "uplink has another gateway",
      "uplink is down",
      "uplink is up",
    ]);
    expect(logOf(sluice).filter((line) => line.level === "error")).toEqual([]);
    expect(logOf(sluice).length).toBeLessThan(60);
    expect(await sluice.stop()).toBe(0);
  });

  /** The veth pair as scripts/lab makes it, the provider's firewall still knows it by name. */
  async function remake(): Promise<void> {
    const ends = [
      "netns",
      lab.namespace("router"),
      "type",
      "veth",
      "peer",
      "name",
      "subscriber",
      "netns",
      lab.namespace(victim),
    ];
    await lab.exec("router", ["ip", "link", "add", wan, ...ends]);
    await provider(`ip address add ${gatewayAddress[victim]}/24 dev subscriber; ip link set subscriber up`);
    await router(`ip address add ${uplinkAddress[victim]}/24 dev ${wan}; ip link set ${wan} up; ${defaultRoute()}`);
  }
});

describe("a start", () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await openLab({ name: "uplinks-start", masquerade: true });
    await serve(lab);
  });
  afterAll(() => lab.close());

  it("with every uplink down goes through, and each works as soon as it is there", async () => {
    for (const isp of lab.isps) await lab.carrier(isp, "off");
    const sluice = await startSluice(lab, smallConfig(lab));
    expect((await statusOf(sluice)).uplinks).toMatchObject([
      { state: "down", reason: "no carrier" },
      { state: "down", reason: "no carrier" },
    ]);
    expect(kinds(await connectTimes(lab, 2))).toEqual([expect.stringMatching(/^failed: /)]);
    await lab.carrier("isp2", "on");
    await sluice.waitFor(/"isp2".*uplink is up/);
    expect(kinds(await connectTimes(lab, 10))).toEqual(["isp2"]);
    await lab.carrier("isp1", "on");
    await sluice.waitFor(/"isp1".*uplink is up/);
    expect(kinds(await connectTimes(lab, 30))).toEqual(["isp1", "isp2"]);
    expect(await sluice.stop()).toBe(0);
  });

  it("with an interface that does not exist is refused, with the name and what there is", async () => {
    const uplinks = [
      { name: "isp1", interface: "wan0" },
      { name: "isp2", interface: "wan7" },
    ];
    const sluice = new Sluice(lab, { config: smallConfig(lab, { uplinks }) });
    expect(await sluice.exited).toBe(2);
    expect(sluice.output).toMatch(
      /^\S+sluice\.yaml:\d+:\d+: uplinks\[1\]\.interface: there is no such interface.*\(got "wan7"; expected one of .*wan0, wan1\)\n$/,
    );
  });
});
