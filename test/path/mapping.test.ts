/** Who may send through a mapping, and which outside endpoint stands for an inside one (RFC 4787, RFC 5382). */
import { describe, expect, test } from "vitest";
import { ACK, echo, FIN, RST, SYN, tcp, udp } from "../support/packets.ts";
import { client, otherClient, otherServer, Rig, server, uplinkAddresses } from "./rig.ts";

const mapped = uplinkAddresses[0]!;

describe("endpoint-independent mapping", () => {
  test("shows one outside port to every remote, over UDP, TCP and ping alike", () => {
    const rig = new Rig();
    const remotes = [`${server}:53`, `${server}:54`, `${otherServer}:53`];
    const ports = (send: (destination: string) => Uint8Array) =>
      new Set(remotes.map((remote) => rig.outOne(send(remote))).map((left) => left.sourcePort || left.identifier));
    expect(ports((destination) => udp({ source: `${client}:5000`, destination })).size).toBe(1);
    expect(ports((destination) => tcp({ source: `${client}:5000`, destination, flags: SYN })).size).toBe(1);
    const ping = (destination: string) =>
      echo({ source: client, destination: destination.split(":")[0]!, identifier: 5000 });
    expect(ports(ping).size).toBe(1);
  });

  test("gives different inside endpoints different outside ports", () => {
    const rig = new Rig();
    const sources = [`${client}:5000`, `${client}:5001`, `${otherClient}:5000`];
    const left = sources.map((source) => rig.outOne(udp({ source, destination: `${server}:53` })));
    expect(new Set(left.map((packet) => packet.sourcePort)).size).toBe(3);
  });

  test("keeps an inside endpoint on its uplink when the lookup table has changed meanwhile", () => {
    const rig = new Rig({ links: [14, 14] });
    const first = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }), 0);
    rig.steerTo(1);
    const second = rig.outOne(udp({ source: `${client}:5000`, destination: `${otherServer}:53` }), 0);
    expect(second.sourcePort).toBe(first.sourcePort);
    expect(rig.out(udp({ source: `${client}:5001`, destination: `${server}:53` }), 1)).toHaveLength(1);
  });

  test("lasts while one of its flows does, and no longer", () => {
    const rig = new Rig();
    const first = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }));
    rig.pass(200_000);
    expect(rig.outOne(udp({ source: `${client}:5000`, destination: `${otherServer}:53` })).sourcePort).toBe(
      first.sourcePort,
    );
    rig.pass(200_000); // the first flow is over, the second is not
    expect(rig.openFlows).toBe(1);
    const third = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:55` }));
    expect(third.sourcePort).toBe(first.sourcePort);
    rig.pass(302_000);
    expect(rig.openFlows).toBe(0);
    const fourth = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }));
    expect(fourth.sourcePort).not.toBe(first.sourcePort);
  });
});

test("address-and-port-dependent mapping shows every remote another port", () => {
  const rig = new Rig({ endpointIndependent: false });
  const remotes = [`${server}:53`, `${server}:54`, `${otherServer}:53`];
  const left = remotes.map((destination) => rig.outOne(udp({ source: `${client}:5000`, destination })));
  expect(new Set(left.map((packet) => packet.sourcePort)).size).toBe(3);
  for (const { sourcePort, destination, destinationPort } of left) {
    const answer = udp({ source: `${destination}:${destinationPort}`, destination: `${mapped}:${sourcePort}` });
    expect(rig.inOne(answer)).toMatchObject({ destination: client, destinationPort: 5000, source: destination });
  }
});

describe("from outside", () => {
  function opened(links = [14]): { rig: Rig; port: number } {
    const rig = new Rig({ links });
    const left = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }));
    return { rig, port: left.sourcePort };
  }

  test("a stranger, and a friend from another port, reach nobody and leave no state", () => {
    const { rig, port } = opened();
    expect(rig.in(udp({ source: `${otherServer}:53`, destination: `${mapped}:${port}` }))).toHaveLength(0);
    expect(rig.in(udp({ source: `${server}:54`, destination: `${mapped}:${port}` }))).toHaveLength(0);
    expect(rig.in(udp({ source: `${server}:53`, destination: `${mapped}:${port + 1}` }))).toHaveLength(0);
    expect(rig.in(tcp({ source: `${server}:53`, destination: `${mapped}:${port}`, flags: SYN }))).toHaveLength(0);
    expect(rig.in(echo({ source: server, destination: mapped }))).toHaveLength(0);
    expect(rig.drops).toEqual({ unsolicited: 5 });
    expect(rig.openFlows).toBe(1);
  });

  test("an answer on another uplink than the question's is dropped", () => {
    const { rig, port } = opened([14, 14]);
    expect(rig.in(udp({ source: `${server}:53`, destination: `${mapped}:${port}` }), 1)).toHaveLength(0);
    expect(rig.drops).toEqual({ "wrong-uplink": 1 });
  });

  test("a packet that pretends to come from the inside is dropped", () => {
    const { rig } = opened();
    expect(rig.in(udp({ source: `${client}:5000`, destination: `${server}:53` }))).toHaveLength(0);
    expect(rig.left(0)).toHaveLength(0);
    expect(rig.drops).toEqual({ "bad-source": 1 });
  });
});

describe("from the inside", () => {
  test("a TCP segment without a flow opens none unless it is a SYN", () => {
    const rig = new Rig();
    for (const flags of [ACK, RST, RST | ACK, FIN | ACK, SYN | ACK]) {
      expect(rig.out(tcp({ source: `${client}:5000`, destination: `${server}:80`, flags }))).toHaveLength(0);
    }
    expect(rig.drops).toEqual({ "tcp-no-flow": 5 });
    expect(rig.openFlows).toBe(0);
  });

  test("an echo reply that nobody asked for opens no flow", () => {
    const rig = new Rig();
    expect(rig.out(echo({ source: client, destination: server, type: 0 }))).toHaveLength(0);
    expect(rig.drops).toEqual({ unsolicited: 1 });
  });

  test("our own output, routed back to us, is dropped", () => {
    const rig = new Rig({ links: [14, 14] });
    for (const source of uplinkAddresses.slice(0, 2)) {
      expect(rig.out(udp({ source: `${source}:5000`, destination: `${server}:53` }))).toHaveLength(0);
    }
    const left = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }));
    expect(rig.out(left.bytes)).toHaveLength(0);
    expect(rig.drops).toEqual({ "own-address": 3 });
    expect(rig.openFlows).toBe(1);
  });

  test("an inside host that sends as a flow's remote reaches nobody", () => {
    const rig = new Rig();
    const left = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }));
    rig.injectInside(udp({ source: `${server}:53`, destination: `${mapped}:${left.sourcePort}` }));
    rig.run();
    expect(rig.left(0)).toHaveLength(0);
    expect(rig.left(-1)).toHaveLength(0);
    expect(rig.drops).toEqual({ "own-address": 1 });
  });
});
