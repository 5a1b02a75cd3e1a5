/**
 * Who outside may send to a mapping (RFC 4787, section 5; for TCP RFC 5382, section 4.3): whom it has sent to, port
 * and all; hosts it has sent to; everyone. What is not let in leaves no trace and gets no answer.
 */
import { describe, expect, test } from "vitest";
import { filtering } from "../../src/dataplane/conntrack.ts";
import { listFlows } from "../../src/dataplane/flow-list.ts";
import { noUplink } from "../../src/tables/shared-state.ts";
import {
  ACK,
  echo,
  FIN,
  finishPartial,
  fragmentsOf,
  parse,
  partialVnet,
  pattern,
  RST,
  reassemble,
  SYN,
  tcp,
  udp,
} from "../support/packets.ts";
import { answerAll } from "./answers.ts";
import { client, firstPort, openWorkers, otherClient, Rig, type RigOptions, uplinkAddresses } from "./rig.ts";

const mapped = uplinkAddresses[0]!;
const inside = `${client}:5000`;
/** Whom the mapping has sent to, another port of that host, another host. */
const friend = "192.0.2.10:53";
const friendsOtherPort = "192.0.2.10:54";
const stranger = "192.0.2.99:53";

/** The same story told with UDP and with TCP: how to ask, how to knock, how to answer either. */
const stories = {
  UDP: {
    ask: (source: string, destination: string) => udp({ source, destination, data: pattern(20) }),
    knock: (source: string, destination: string) => udp({ source, destination, data: pattern(30, 7) }),
    answer: (source: string, destination: string) => udp({ source, destination, data: pattern(40, 9) }),
  },
  TCP: {
    ask: (source: string, destination: string) => tcp({ source, destination, flags: SYN, sequence: 900 }),
    knock: (source: string, destination: string) => tcp({ source, destination, flags: SYN, sequence: 900 }),
    answer: (source: string, destination: string) =>
      tcp({ source, destination, flags: SYN | ACK, sequence: 300, acknowledgment: 901 }),
  },
} as const;
type Story = (typeof stories)[keyof typeof stories];

/** A rig in which the client has asked its friend; where it stands outside. */
function asked(story: Story, mode: number, options: RigOptions = {}): { rig: Rig; outside: string } {
  const rig = new Rig({ filtering: mode, ...options });
  const left = rig.outOne(story.ask(inside, friend));
  return { rig, outside: `${mapped}:${left.sourcePort}` };
}

const modes = Object.entries(filtering);
const letsIn: Record<string, Record<string, boolean>> = {
  addressAndPort: { [friendsOtherPort]: false, [stranger]: false },
  address: { [friendsOtherPort]: true, [stranger]: false },
  endpointIndependent: { [friendsOtherPort]: true, [stranger]: true },
};

describe.each(Object.entries(stories))("%s", (_, story) => {
  describe.each(modes)("with %s filtering", (name, mode) => {
    test("whom the mapping has sent to may always send to it", () => {
      const { rig, outside } = asked(story, mode);
      expect(rig.inOne(story.answer(friend, outside))).toMatchObject({ destination: client, destinationPort: 5000 });
    });

    test.each(Object.entries(letsIn[name]!))("%s is let in: %s", (knocker, isLetIn) => {
      const { rig, outside } = asked(story, mode);
      const arrived = rig.in(story.knock(knocker, outside));
      expect(arrived).toHaveLength(isLetIn ? 1 : 0);
      expect(rig.left(0), "no answer of the router's").toHaveLength(0);
      expect(rig.openFlows).toBe(isLetIn ? 2 : 1);
      expect(rig.drops).toEqual(isLetIn ? {} : { unsolicited: 1 });
      if (!isLetIn) return;
      const [address, port] = knocker.split(":");
      expect(arrived[0]).toMatchObject({ source: address, sourcePort: Number(port), checksumOk: true });
      expect(arrived[0]).toMatchObject({ destination: client, destinationPort: 5000 });
      // And the answer leaves from where the question was sent to.
      const left = rig.outOne(story.answer(inside, knocker));
      expect(`${left.source}:${left.sourcePort}`).toBe(outside);
      expect(`${left.destination}:${left.destinationPort}`).toBe(knocker);
    });

    test("a port that no mapping has lets nobody in, whoever else has mappings", () => {
      const { rig, outside } = asked(story, mode);
      const others = [firstPort, firstPort + 1023, 80].filter((port) => `${mapped}:${port}` !== outside);
      for (const port of others) expect(rig.in(story.knock(friendsOtherPort, `${mapped}:${port}`))).toHaveLength(0);
      expect([rig.openFlows, rig.left(0).length]).toEqual([1, 0]);
    });

    test("the same port of another uplink lets nobody in, nor this one by another uplink", () => {
      const { rig, outside } = asked(story, mode, { links: [14, 14] });
      const port = outside.split(":")[1];
      expect(rig.in(story.knock(friendsOtherPort, `${uplinkAddresses[1]}:${port}`), 1)).toHaveLength(0);
      expect(rig.in(story.knock(friendsOtherPort, outside), 1)).toHaveLength(0);
      expect([rig.openFlows, rig.left(0).length, rig.left(1).length]).toEqual([1, 0, 0]);
    });

    test("nobody is let in once the mapping is gone", () => {
      const { rig, outside } = asked(story, mode);
      rig.pass(301_000);
      expect(rig.openFlows).toBe(0);
      for (const knocker of [friend, friendsOtherPort, stranger])
        expect(rig.in(story.knock(knocker, outside)), knocker).toHaveLength(0);
      expect([rig.openFlows, rig.left(0).length]).toEqual([0, 0]);
    });

    test("nobody is let in by an address that the uplink has lost", () => {
      const { rig, outside } = asked(story, mode);
      rig.setUplink(0, { address: "203.0.113.77" });
      expect(rig.in(story.knock(friendsOtherPort, outside))).toHaveLength(0);
      expect(rig.in(story.knock(friendsOtherPort, outside.replace(mapped, "203.0.113.77")))).toHaveLength(0);
      expect(rig.openFlows).toBe(0);
    });
  });

  const open = filtering.endpointIndependent;

  test("a flow from outside is the host's: it counts against its share, and one too many is dropped in silence", () => {
    const { rig, outside } = asked(story, open, { flowsPerHost: 3 });
    for (const port of [1, 2]) expect(rig.in(story.knock(`192.0.2.50:${port}`, outside))).toHaveLength(1);
    answerAll(rig, 900);
    expect(rig.in(story.knock("192.0.2.50:3", outside))).toHaveLength(0);
    expect(rig.drops).toEqual({ "host-flow-limit": 1 });
    expect(rig.left(0)).toHaveLength(0);
    expect(rig.out(story.ask(inside, "192.0.2.60:53"))).toHaveLength(0);
    expect(rig.out(story.ask(`${otherClient}:5000`, friend))).toHaveLength(1);
  });

  test("flows from outside stop at a full table, in silence, and those that there are go on", () => {
    const { rig, outside } = asked(story, open, { flows: 3 });
    for (const port of [1, 2]) rig.in(story.knock(`192.0.2.50:${port}`, outside));
    answerAll(rig, 900);
    expect(rig.in(story.knock("192.0.2.50:3", outside))).toHaveLength(0);
    expect(rig.drops).toEqual({ "flow-table-full": 1 });
    expect([rig.left(0).length, rig.left(-1).length]).toEqual([0, 0]);
    expect(rig.in(story.answer(friend, outside))).toHaveLength(1);
  });

  test("a mapping lives on by a flow from outside, and keeps its port", () => {
    const { rig, outside } = asked(story, open);
    rig.in(story.knock(stranger, outside));
    for (let minute = 0; minute < 20; minute++) {
      rig.pass(60_000);
      expect(rig.out(story.answer(inside, stranger))).toHaveLength(1);
    }
    expect(rig.openFlows, "the friend's has ended").toBe(1);
    const again = rig.outOne(story.ask(inside, "192.0.2.200:53"));
    expect(`${again.source}:${again.sourcePort}`).toBe(outside);
    expect(rig.in(story.knock("192.0.2.201:1", outside))).toHaveLength(1);
  });

  test("a flow from outside goes back by its uplink whatever the scheduler says, and keeps it to itself", () => {
    const { rig, outside } = asked(story, open, { links: [14, 14] });
    rig.in(story.knock(stranger, outside));
    for (const uplink of [1, noUplink]) {
      rig.steerTo(uplink);
      expect(rig.out(story.answer(inside, stranger), 0)).toHaveLength(1);
      expect(rig.left(1)).toHaveLength(0);
    }
    expect(rig.in(story.knock(stranger, outside), 1)).toHaveLength(0);
    expect(rig.drops).toEqual({ "wrong-uplink": 1 });
  });

  test("whom the client has asked from another mapping is not let in a second time by this one", () => {
    // Each remote has a port of its own, so that one endpoint has two.
    const { rig } = asked(story, open, { endpointIndependent: false });
    const second = rig.outOne(story.ask(inside, stranger));
    const knock = story.knock(friend, `${mapped}:${second.sourcePort}`);
    expect(rig.in(knock)).toHaveLength(0);
    expect(rig.drops).toEqual({ unsolicited: 1 });
    expect(rig.openFlows).toBe(2);
  });
});

test("with address-dependent filtering a host is let in as long as a flow with it lives, and no longer", () => {
  const { rig, outside } = asked(stories.UDP, filtering.address);
  const keepAlive = () => rig.out(stories.UDP.ask(inside, "192.0.2.200:53"));
  for (let minute = 0; minute < 4; minute++) {
    rig.pass(60_000);
    keepAlive();
  }
  expect(rig.in(stories.UDP.knock(friendsOtherPort, outside))).toHaveLength(1);
  // That one is a flow with it, too.
  rig.pass(200_000);
  keepAlive();
  expect(rig.in(stories.UDP.knock("192.0.2.10:55", outside))).toHaveLength(1);
  rig.pass(290_000);
  keepAlive();
  rig.pass(20_000);
  expect(rig.in(stories.UDP.knock("192.0.2.10:56", outside))).toHaveLength(0);
  expect(rig.in(stories.UDP.knock("192.0.2.200:1", outside))).toHaveLength(1);
});

describe("an unsolicited segment that is no SYN", () => {
  test.each(modes)("is dropped without a word, with %s filtering", (_, mode) => {
    const { rig, outside } = asked(stories.TCP, mode);
    for (const flags of [ACK, SYN | ACK, RST, RST | ACK, FIN | ACK])
      expect(rig.in(tcp({ source: stranger, destination: outside, flags }))).toHaveLength(0);
    expect(rig.drops).toEqual({ unsolicited: 5 });
    expect([rig.openFlows, rig.left(0).length]).toEqual([1, 0]);
  });

  test.each(modes)("so is a ping to a ping's identifier, with %s filtering", (_, mode) => {
    const rig = new Rig({ filtering: mode });
    const { identifier } = rig.outOne(echo({ source: client, destination: "192.0.2.10" }));
    for (const source of ["192.0.2.10", "192.0.2.99"])
      for (const type of [8, 13]) rig.in(echo({ source, destination: mapped, type, identifier }));
    rig.in(echo({ source: "192.0.2.99", destination: mapped, type: 0, identifier }));
    expect([rig.left(-1).length, rig.left(0).length, rig.openFlows]).toEqual([0, 0, 1]);
  });
});

test("an unsolicited SYN is met with silence, and the inside's own SYN, shortly after, opens the connection (RFC 5382, REQ-4)", () => {
  const rig = new Rig();
  // Both ends know each other's endpoint by a third, and open at once; the inside's mapping is there already.
  const third = rig.outOne(tcp({ source: inside, destination: "192.0.2.1:3478", flags: SYN }));
  const outside = `${mapped}:${third.sourcePort}`;
  const theirs = tcp({ source: stranger, destination: outside, flags: SYN, sequence: 900 });
  expect(rig.in(theirs)).toHaveLength(0);
  expect(rig.left(0)).toHaveLength(0);
  rig.pass(3000);
  const ours = rig.outOne(tcp({ source: inside, destination: stranger, flags: SYN, sequence: 100 }));
  expect(`${ours.source}:${ours.sourcePort}`).toBe(outside);
  expect(rig.in(theirs), "sent again").toHaveLength(1);
  expect(rig.drops).toEqual({ unsolicited: 1 });
});

describe("a TCP connection from outside", () => {
  const knocked = () => {
    const { rig, outside } = asked(stories.TCP, filtering.endpointIndependent);
    rig.inOne(stories.TCP.knock(stranger, outside));
    return { rig, outside };
  };
  const stateOf = (rig: Rig) =>
    listFlows(rig.forwarder.conntrack, -1, 10, rig.nowMs).find(({ destination }) => destination === "192.0.2.99")!
      .state;

  test("goes through the states of one, and lives by their timeouts", () => {
    const { rig, outside } = knocked();
    expect(stateOf(rig)).toBe("syn-sent");
    rig.outOne(stories.TCP.answer(inside, stranger));
    expect(stateOf(rig)).toBe("syn-received");
    const segment = { source: stranger, destination: outside, sequence: 901, acknowledgment: 301 };
    rig.inOne(tcp({ ...segment, flags: ACK }));
    expect(stateOf(rig)).toBe("established");
    rig.pass(7_000_000);
    rig.inOne(tcp({ ...segment, flags: FIN | ACK }));
    expect(stateOf(rig), "the opener has finished").toBe("fin-wait");
    rig.outOne(tcp({ source: inside, destination: stranger, sequence: 301, acknowledgment: 902, flags: FIN | ACK }));
    expect(stateOf(rig)).toBe("last-ack");
    rig.inOne(tcp({ ...segment, sequence: 902, acknowledgment: 302, flags: ACK }));
    expect(stateOf(rig)).toBe("time-wait");
    rig.pass(241_000);
    expect(rig.openFlows).toBe(0);
  });

  test("that is refused by the inside's RST is over", () => {
    const { rig } = knocked();
    const refusal = { source: inside, destination: stranger, flags: RST | ACK, sequence: 0, acknowledgment: 901 };
    rig.outOne(tcp(refusal));
    expect(stateOf(rig)).toBe("closed");
  });

  test("is not ended by a RST out of its window", () => {
    const { rig, outside } = knocked();
    rig.outOne(stories.TCP.answer(inside, stranger));
    const far = tcp({ source: stranger, destination: outside, flags: RST, sequence: 0x7000_0000 });
    expect(rig.in(far)).toHaveLength(0);
    expect(rig.drops).toEqual({ "tcp-out-of-window": 1 });
    expect(stateOf(rig)).toBe("syn-received");
  });

  test("that nobody answers ends after the transitory timeout", () => {
    const { rig } = knocked();
    rig.pass(241_000);
    expect(rig.openFlows).toBe(0);
  });
});

describe("a datagram from outside that is let in", () => {
  const { ask, knock } = stories.UDP;

  test("may come in fragments, in any order", () => {
    const { rig, outside } = asked(stories.UDP, filtering.endpointIndependent);
    const whole = udp({ source: stranger, destination: outside, data: pattern(4000) });
    const arrived = rig.in(fragmentsOf(whole, 1480).reverse());
    expect(parse(reassemble(arrived.map(({ bytes }) => bytes)))).toMatchObject({
      destination: client,
      checksumOk: true,
    });
    expect(rig.openFlows).toBe(2);
  });

  test("may be a super-packet whose checksum is still to be finished", () => {
    const { rig, outside } = asked(stories.UDP, filtering.endpointIndependent);
    const whole = udp({ source: stranger, destination: outside, data: pattern(4000), checksum: "partial" });
    const arrived = rig.inOne(whole, 0, partialVnet(whole, 14, 1000));
    expect(parse(finishPartial(arrived.bytes))).toMatchObject({ destination: client, checksumOk: true });
    expect(rig.uplinkCounters(0)).toMatchObject({ rxPackets: 4, txPackets: 1, flows: 2 });
  });

  test("is let in by the worker that has the mapping, and by no other", () => {
    const workers = openWorkers(2, { filtering: filtering.endpointIndependent });
    for (const [i, rig] of workers.entries()) {
      const left = rig.outOne(ask(inside, friend));
      const packet = knock(stranger, `${mapped}:${left.sourcePort}`);
      expect(workers[1 - i]!.in(packet)).toHaveLength(0);
      expect(rig.in(packet)).toHaveLength(1);
    }
  });
});
