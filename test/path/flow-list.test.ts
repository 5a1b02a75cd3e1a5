/** The list of live flows, as `sluice flows` asks for it. */
import { expect, test } from "vitest";
import { listFlows } from "../../src/dataplane/flow-list.ts";
import { ACK, echo, partialVnet, pattern, SYN, tcp, udp } from "../support/packets.ts";
import { udp6 } from "../support/packets6.ts";
import { client, client6, openRig6, Rig, server, server6, uplinkAddresses, uplinkAddresses6 } from "./rig.ts";

function list(rig: Rig, uplink = -1, limit = 100) {
  return listFlows(rig.forwarder.conntrack, uplink, limit, rig.nowMs);
}

test("a flow is listed with its endpoints, its age and what it has carried", () => {
  const rig = new Rig({ startMs: 2 ** 31 - 2000 });
  const question = udp({ source: `${client}:5000`, destination: `${server}:53`, data: pattern(20) });
  const left = rig.outOne(question);
  rig.pass(3000);
  rig.out([question, question]);
  const answer = udp({ source: `${server}:53`, destination: `${uplinkAddresses[0]}:${left.sourcePort}` });
  rig.in(answer);
  rig.pass(1500);
  expect(list(rig)).toEqual([
    {
      protocol: 17,
      source: client,
      sourcePort: 5000,
      destination: server,
      destinationPort: 53,
      uplink: 0,
      mappedAddress: uplinkAddresses[0],
      mappedPort: left.sourcePort,
      state: "replied",
      ageMs: 4500,
      idleMs: 1500,
      txBytes: 3 * question.length,
      rxBytes: answer.length,
      txPackets: 3,
      rxPackets: 1,
    },
  ]);
});

test("a flow of IPv6 is listed with the addresses that it has, not with what they are called here", () => {
  const rig = openRig6();
  const left = rig.outOne6(udp6({ source: `[${client6}]:5000`, destination: `[${server6}]:53` }));
  expect(list(rig)).toMatchObject([
    { source: client6, destination: server6, mappedAddress: uplinkAddresses6[0], mappedPort: left.sourcePort },
  ]);
});

test("a super-packet counts as its segments", () => {
  const rig = new Rig();
  const source = `${client}:5000`;
  const syn = tcp({ source, destination: `${server}:80`, flags: SYN });
  const big = tcp({ source, destination: `${server}:80`, data: pattern(3000), checksum: "partial" });
  rig.out(syn);
  rig.out(big, 0, partialVnet(big, 0, 1000));
  expect(list(rig)[0]).toMatchObject({ txPackets: 1 + 3, txBytes: syn.length + big.length });
});

test("a state says how far a connection is, or whether anybody has answered", () => {
  const rig = new Rig();
  const left = rig.outOne(tcp({ source: `${client}:1`, destination: `${server}:80`, flags: SYN }));
  rig.out(udp({ source: `${client}:2`, destination: `${server}:53` }));
  rig.out(echo({ source: client, destination: server, identifier: 3 }));
  expect(list(rig).map(({ state }) => state)).toEqual(["syn-sent", "unreplied", "unreplied"]);
  const answer = { source: `${server}:80`, destination: `${uplinkAddresses[0]}:${left.sourcePort}` };
  rig.in(tcp({ ...answer, flags: SYN | ACK }));
  rig.out(tcp({ source: `${client}:1`, destination: `${server}:80`, flags: ACK }));
  expect(list(rig)[0]!.state).toBe("established");
});

test("the list is of one uplink or of all, has no more than it was asked for, and none that has ended", () => {
  const rig = new Rig({ links: [14, 14] });
  for (let port = 1; port <= 6; port++) {
    rig.steerTo(port % 2);
    rig.out(udp({ source: `${client}:${port}`, destination: `${server}:53` }));
  }
  const ports = (uplink: number, limit: number) => list(rig, uplink, limit).map(({ sourcePort }) => sourcePort);
  expect(ports(-1, 100)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(ports(1, 100)).toEqual([1, 3, 5]);
  expect(ports(0, 2)).toEqual([2, 4]);
  expect(ports(-1, 0)).toEqual([]);
  rig.pass(302_000);
  expect(ports(-1, 100)).toEqual([]);
});
