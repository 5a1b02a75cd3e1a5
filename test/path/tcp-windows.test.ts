/**
 * Which segments have a say in a connection's state, and which of the others go on. What is out of the windows may be
 * an attack from off the path (RFC 5961) or the leftovers of an earlier connection; the ends know better than we do, so
 * nothing is dropped but a SYN or RST that comes from an uplink.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ACK, concat, FIN, PSH, pattern, RST, SYN, tcp, words } from "../support/packets.ts";
import { Connection, type ConnectionOptions } from "./connection.ts";

const half = 0x8000_0000;
/** Distances that no window of an unscaled connection covers: just beyond, far, the other half of the numbers. */
const farAhead = [65_535 + 1, 1_000_000, half - 1];
const farBehind = [-200_000, -1_000_000, -half + 1];

/** Both ways of opening one, so that every rule is held for both: the remote's segments are those under attack. */
describe("a blind attacker", () => {
  test.each([...farAhead, ...farBehind])("cannot end a connection by a RST %i bytes off", (ahead) => {
    const connection = Connection.open();
    connection.answer({ data: pattern(100) });
    connection.send();
    expect(connection.answer({ flags: RST, ahead })).toBeUndefined();
    expect(connection.answer({ flags: RST | ACK, ahead })).toBeUndefined();
    expect(connection.state).toBe("established");
    expect(connection.rig.drops).toEqual({ "tcp-out-of-window": 2 });
  });

  test("cannot end one by a RST with a good number that acknowledges what was never sent", () => {
    const connection = Connection.open();
    expect(connection.answer({ flags: RST | ACK, ahead: 0, acknowledgesAhead: 1 })).toBeUndefined();
    expect(connection.answer({ flags: RST | ACK, ahead: 0, acknowledgesAhead: -100_000 })).toBeUndefined();
    expect(connection.state).toBe("established");
  });

  test("cannot restart one by a SYN out of the window, nor change how its windows are read", () => {
    const connection = Connection.open({ insideScale: 7, remoteScale: 7 });
    for (const flags of [SYN, SYN | ACK]) {
      expect(connection.answer({ flags, ahead: half - 1, tcpOptions: new Uint8Array() })).toBeUndefined();
    }
    expect(connection.rig.drops).toEqual({ "tcp-out-of-window": 2 });
    connection.send({ data: pattern(1000) });
    connection.answer({ window: 1000 });
    connection.send({ flags: RST, ahead: (1000 << 7) + 1 });
    expect(connection.state).toBe("established");
    connection.send({ flags: RST, ahead: 1000 << 7 });
    expect(connection.state).toBe("closed");
  });

  test("cannot move a connection along by FINs out of the window, which go on for the host to judge", () => {
    const connection = Connection.open();
    for (const ahead of [...farAhead, ...farBehind]) {
      expect(connection.answer({ flags: FIN | ACK, ahead })).toBeDefined();
    }
    expect(connection.answer({ flags: FIN | ACK, ahead: 0, acknowledgesAhead: 500 })).toBeDefined();
    expect(connection.state).toBe("established");
    expect(connection.rig.drops).toEqual({});
  });

  test("cannot shift the window by data out of it: what was good before still is, what was not is not", () => {
    const connection = Connection.open();
    connection.answer({ data: pattern(10), ahead: 5_000_000 });
    connection.answer({ data: pattern(10), ahead: 10_000_000, acknowledgesAhead: 1_000_000 });
    expect(connection.answer({ flags: RST, ahead: 5_000_010 })).toBeUndefined();
    expect(connection.answer({ flags: FIN | ACK })).toBeDefined();
    expect(connection.state).toBe("close-wait");
  });

  test("cannot refuse a connection that is being opened without naming what it refuses", () => {
    const connection = new Connection();
    connection.send({ flags: SYN });
    for (const acknowledgesAhead of [-1, 1, 70_000, half]) {
      expect(connection.answer({ flags: RST | ACK, ahead: 0, acknowledgesAhead })).toBeUndefined();
    }
    expect(connection.answer({ flags: RST, ahead: 0 })).toBeUndefined();
    expect(connection.state).toBe("syn-sent");
    expect(connection.answer({ flags: SYN | ACK })).toBeDefined();
    expect(connection.state).toBe("syn-received");
  });

  test("cannot keep the answer out by a SYN, a SYN+ACK or data of its own before it", () => {
    for (const flags of [SYN, SYN | ACK, ACK, FIN | ACK]) {
      const connection = new Connection();
      connection.send({ flags: SYN });
      // Plain SYNs need no acknowledgment to be right: for all we know both ends open at once.
      connection.answer({ flags, ahead: half - 5, acknowledgesAhead: flags === SYN ? 0 : 77_777 });
      expect(connection.answer({ flags: SYN | ACK }), `after flags ${flags}`).toBeDefined();
      connection.send();
      expect(connection.state, `after flags ${flags}`).toBe("established");
    }
  });

  test("of another connection's number has no say even when the window is the largest there is", () => {
    const connection = Connection.open({
      insideScale: 14,
      remoteScale: 14,
      insideWindow: 65_535,
      remoteWindow: 65_535,
    });
    connection.send({ data: pattern(10) });
    connection.answer();
    expect(connection.answer({ flags: RST, ahead: 2 ** 30 + 2 ** 17 })).toBeUndefined();
    expect(connection.answer({ flags: RST, ahead: -(2 ** 30) - 2 ** 17 })).toBeUndefined();
    expect(connection.state).toBe("established");
  });
});

describe("a RST", () => {
  test.each([
    ["of the remote", "answer", "reset"],
    ["of the inside", "send", "closed"],
  ] as const)("%s with the expected number ends the connection", (_, by, state) => {
    const connection = Connection.open();
    connection.send({ data: pattern(500) });
    connection.answer({ data: pattern(500) });
    connection.send();
    expect(connection[by]({ flags: RST })).toBeDefined();
    expect(connection.state).toBe(state);
    connection.rig.pass(241_000);
    expect(connection.state).toBe("gone");
  });

  test("within the window ends it too, after data that is still on its way", () => {
    const connection = Connection.open();
    expect(connection.answer({ flags: RST, ahead: 20_000 })).toBeDefined();
    expect(connection.state).toBe("reset");
  });

  test("that refuses a SYN ends the attempt", () => {
    const connection = new Connection();
    connection.send({ flags: SYN });
    expect(connection.answer({ flags: RST | ACK })).toBeDefined();
    expect(connection.state).toBe("closed");
  });

  test("that refuses a SYN with data (fast open) names its data too", () => {
    const connection = new Connection();
    connection.send({ flags: SYN, data: pattern(300) });
    expect(connection.answer({ flags: RST | ACK, acknowledgesAhead: -300 })).toBeUndefined();
    expect(connection.answer({ flags: RST | ACK })).toBeDefined();
    expect(connection.state).toBe("closed");
  });

  test("of the inside, out of the window, reaches the remote and ends nothing here", () => {
    const connection = Connection.open();
    expect(connection.send({ flags: RST, ahead: half - 1 })).toBeDefined();
    expect(connection.state).toBe("established");
    expect(connection.rig.drops).toEqual({});
  });

  test("clears what the remote has left of an earlier connection, and the new one comes about (RFC 9293, section 3.5.1)", () => {
    // The remote's leftover has numbers of its own; the inside refuses them and tries again.
    for (const leftover of [1, half - 1, half + 1, 0xffff_0000]) {
      const connection = new Connection();
      connection.send({ flags: SYN });
      const challenge = { ahead: 77, acknowledgesAhead: leftover };
      expect(connection.answer(challenge)).toBeDefined();
      expect(connection.send({ flags: RST, ahead: leftover - 1 }), `leftover ${leftover}`).toBeDefined();
      expect(connection.send({ flags: SYN, ahead: -1 })).toBeDefined();
      expect(connection.answer({ flags: SYN | ACK })).toBeDefined();
      connection.send();
      expect(connection.state).toBe("established");
    }
  });
});

describe("an honest connection", () => {
  test.each([
    ["neither end", undefined, undefined, 1],
    ["the inside only, which means none", 9, undefined, 1],
    ["the remote only, which means none", undefined, 9, 1],
    ["both ends", 4, 3, 8],
    ["both ends, without a shift", 0, 0, 1],
    ["both ends, one beyond the largest there is (RFC 7323, section 2.3)", 2, 15, 2 ** 14],
  ])("may fill the window and no more; scaled by %s", (_, insideScale, remoteScale, factor) => {
    const remoteWindow = 1000;
    const connection = Connection.open({
      remoteWindow,
      ...(insideScale === undefined ? {} : { insideScale }),
      ...(remoteScale === undefined ? {} : { remoteScale }),
    });
    // The window of the SYN+ACK is never scaled; that of what follows is.
    connection.answer();
    const bytes = remoteWindow * factor;
    // A RST has a say only within the window; the inside's own goes on either way, so it is the state that tells.
    connection.send({ flags: RST, ahead: bytes + 1 });
    expect(connection.state).toBe("established");
    connection.send({ flags: RST, ahead: bytes });
    expect(connection.state).toBe("closed");
  });

  test("goes on over the wrap of its numbers, whichever end's and whenever", () => {
    const start = fc.integer({ min: 0xffff_ff00, max: 0xffff_ffff });
    const steps = fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 3000 })), { minLength: 20, maxLength: 60 });
    fc.assert(
      fc.property(start, start, steps, (insideStart, remoteStart, all) => {
        const connection = Connection.open({ insideStart, remoteStart, mtu: 9000 });
        for (const [isInside, bytes] of all) {
          const by = isInside ? "send" : "answer";
          expect(connection[by]({ data: pattern(bytes) })).toBeDefined();
          const other = isInside ? "answer" : "send";
          expect(connection[other]()).toBeDefined();
        }
        expect(connection.answer({ flags: FIN | ACK })).toBeDefined();
        expect(connection.send({ flags: FIN | ACK })).toBeDefined();
        expect(connection.answer()).toBeDefined();
        expect(connection.state).toBe("time-wait");
        expect(connection.rig.drops).toEqual({});
      }),
      { numRuns: 40 },
    );
  });

  test("in super-packets is followed by all of their bytes", () => {
    const connection = Connection.open({ insideScale: 8, remoteScale: 8 });
    for (let i = 0; i < 50; i++) {
      connection.send({ data: pattern(60_000, i), gsoSize: 1448 });
      connection.answer({ data: pattern(60_000, i), gsoSize: 1460 });
    }
    connection.send({ flags: FIN | ACK, data: pattern(2900), gsoSize: 1448 });
    expect(connection.state).toBe("fin-wait");
    connection.answer({ flags: FIN | ACK });
    expect(connection.state).toBe("last-ack");
  });

  test("may be probed while its window is zero, and goes on when that opens (RFC 9293, section 3.8.6.1)", () => {
    const connection = Connection.open();
    connection.send({ data: pattern(1000) });
    connection.answer({ window: 0 });
    // Windows probes with a byte of data, Linux with an old number and none.
    expect(connection.send({ data: pattern(1), ahead: 0 })).toBeDefined();
    expect(connection.answer({ window: 0 })).toBeDefined();
    expect(connection.send({ ahead: -1 })).toBeDefined();
    expect(connection.answer({ window: 0 })).toBeDefined();
    expect(connection.answer({ window: 5000 })).toBeDefined();
    expect(connection.send({ data: pattern(1400) })).toBeDefined();
    expect(connection.answer()).toBeDefined();
    expect(connection.send({ flags: FIN | ACK })).toBeDefined();
    expect(connection.state).toBe("fin-wait");
  });

  test("may open with a window of zero on both ends", () => {
    const connection = new Connection();
    connection.send({ flags: SYN, window: 0 });
    connection.answer({ flags: SYN | ACK, window: 0 });
    connection.send({ window: 0 });
    expect(connection.answer({ flags: RST | ACK, ahead: half - 1 }), "no window is not any window").toBeUndefined();
    connection.answer({ window: 3000 });
    connection.send({ data: pattern(1400) });
    connection.answer();
    connection.answer({ flags: FIN | ACK });
    expect(connection.state).toBe("close-wait");
  });

  test("may send keep-alives, of no byte or of one, one before the next, as often as it likes (RFC 9293, section 3.8.4)", () => {
    const connection = Connection.open();
    connection.send({ data: pattern(100) });
    connection.answer();
    for (let i = 0; i < 10; i++) {
      connection.rig.pass(7_200_000);
      expect(connection.send({ ahead: -1 })).toBeDefined();
      expect(connection.answer()).toBeDefined();
      connection.rig.pass(7_200_000);
      expect(connection.answer({ ahead: -1, data: pattern(1) })).toBeDefined();
      expect(connection.send()).toBeDefined();
    }
    connection.answer({ flags: FIN | ACK });
    expect(connection.state).toBe("close-wait");
  });

  test("may send again what got lost behind us, all of a window back, and acknowledge it again", () => {
    const connection = Connection.open();
    for (let i = 0; i < 40; i++) connection.send({ data: pattern(1400, i) });
    connection.answer({ acknowledgesAhead: -56_000 });
    for (let ahead = -56_000; ahead < 0; ahead += 1400) connection.send({ data: pattern(1400), ahead });
    for (let i = 0; i < 3; i++) connection.answer({ acknowledgesAhead: -56_000 });
    connection.answer();
    connection.send({ flags: FIN | ACK });
    connection.send({ flags: FIN | ACK, ahead: -1 });
    expect(connection.state).toBe("fin-wait");
    // The inside's numbers are still followed where they are.
    expect(connection.answer({ flags: FIN | ACK })).toBeDefined();
    expect(connection.answer({ flags: FIN | ACK, ahead: -1 })).toBeDefined();
    expect(connection.state).toBe("last-ack");
  });

  test("may send its SYN and its answer again, with the same numbers or, after a while, with others", () => {
    for (const [synAhead, answerAhead] of [
      [-1, -1],
      [half - 2, -1],
      [-half, -1],
      [-1, half - 2],
      [-1, -half],
    ] as const) {
      const connection = new Connection();
      connection.send({ flags: SYN });
      expect(connection.send({ flags: SYN, ahead: synAhead })).toBeDefined();
      connection.inside.next = (connection.inside.next + synAhead + 1) >>> 0;
      connection.remote.expects = connection.inside.next;
      connection.answer({ flags: SYN | ACK });
      // A server that answers by SYN cookies has another number for every minute.
      expect(connection.answer({ flags: SYN | ACK, ahead: answerAhead })).toBeDefined();
      connection.remote.next = (connection.remote.next + answerAhead + 1) >>> 0;
      connection.inside.expects = connection.remote.next;
      connection.send();
      connection.answer({ data: pattern(1000) });
      connection.send({ flags: FIN | ACK });
      expect(connection.state, `${synAhead}, ${answerAhead}`).toBe("fin-wait");
      expect(connection.rig.drops).toEqual({});
    }
  });

  test("may be answered with data at once when its SYN had data (RFC 7413)", () => {
    const connection = new Connection();
    connection.send({ flags: SYN, data: pattern(200) });
    connection.answer({ flags: SYN | ACK });
    for (let i = 0; i < 10; i++) connection.answer({ data: pattern(1400, i) });
    connection.answer({ flags: FIN | ACK });
    expect(connection.state).toBe("close-wait");
    connection.send();
    connection.send({ flags: FIN | ACK });
    connection.answer();
    expect(connection.state).toBe("time-wait");
  });

  test("that is half closed goes on the other way, for hours and for any amount", () => {
    for (const [closing, other] of [
      ["send", "answer"],
      ["answer", "send"],
    ] as const) {
      const connection = Connection.open();
      connection[closing]({ flags: FIN | ACK });
      for (let i = 0; i < 200; i++) {
        expect(connection[other]({ data: pattern(1400, i) })).toBeDefined();
        expect(connection[closing]()).toBeDefined();
        if (i % 50 === 0) connection.rig.pass(7_000_000);
      }
      expect(connection.state).toBe(closing === "send" ? "fin-wait" : "close-wait");
      connection[other]({ flags: FIN | ACK });
      connection[closing]();
      expect(connection.state).toBe("time-wait");
    }
  });

  test("may be opened from both ends at once (RFC 5382, REQ-2)", () => {
    const connection = new Connection();
    connection.send({ flags: SYN });
    expect(connection.answer({ flags: SYN })).toBeDefined();
    expect(connection.state).toBe("syn-sent2");
    expect(connection.send({ flags: SYN | ACK, ahead: -1 })).toBeDefined();
    expect(connection.answer({ flags: SYN | ACK, ahead: -1 })).toBeDefined();
    expect(connection.send()).toBeDefined();
    expect(connection.answer({ data: pattern(100) })).toBeDefined();
    expect(connection.state).toBe("established");
    expect(connection.rig.openFlows).toBe(1);
    expect(connection.answer({ flags: RST, ahead: half })).toBeUndefined();
    connection.send({ flags: FIN | ACK });
    expect(connection.state).toBe("fin-wait");
  });

  test.each([
    ["closed both ways", [FIN | ACK, FIN | ACK, ACK]],
    ["reset", [RST]],
  ])("may be followed by another on the same ports once it is over (%s), with any numbers", (_, ends) => {
    for (const ahead of [1, half, 0xffff_0000]) {
      const connection = Connection.open();
      const before = connection.mappedEndpoint;
      for (const [i, flags] of ends.entries()) connection[i % 2 === 0 ? "send" : "answer"]({ flags });
      connection.inside.next = (connection.inside.next + ahead) >>> 0;
      connection.remote.next = (connection.remote.next + 2 * ahead + 12_345) >>> 0;
      expect(connection.send({ flags: SYN })).toBeDefined();
      expect(connection.state).toBe("syn-sent");
      expect(connection.answer({ flags: SYN | ACK })).toBeDefined();
      connection.send();
      expect(connection.state).toBe("established");
      expect(connection.mappedEndpoint).toBe(before);
      // The old connection's numbers mean nothing to it.
      expect(connection.answer({ flags: RST, ahead: -(2 * ahead + 12_345 + 200_000) })).toBeUndefined();
      expect(connection.state).toBe("established");
    }
  });

  test("has nothing of it marked, whatever loses, repeats and reorders its segments before they get here", () => {
    const fate = fc.constantFrom("arrives", "arrives", "arrives", "lost", "twice", "late");
    const steps = fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 1400 }), fate), {
      minLength: 30,
      maxLength: 120,
    });
    fc.assert(
      fc.property(steps, fc.integer({ min: 0, max: 0xffff_ffff }), (all, insideStart) => {
        const connection = Connection.open({ insideStart });
        /** Sent, and not seen here yet. */
        const late: (() => void)[] = [];
        for (const [isInside, bytes, how] of all) {
          const [by, other] = isInside ? (["send", "answer"] as const) : (["answer", "send"] as const);
          const [end, peer] = isInside
            ? [connection.inside, connection.remote]
            : [connection.remote, connection.inside];
          const next = end.next;
          if (how === "lost") {
            // Never came here: it is sent again, after something that did.
            connection[by]({ data: pattern(bytes), ahead: bytes });
            connection[other]();
          }
          if (how === "late") {
            const expects = end.expects;
            late.push(() => {
              const moved = { ahead: next - end.next, acknowledgesAhead: expects - end.expects };
              expect(connection[by]({ data: pattern(bytes), ...moved })).toBeDefined();
            });
          }
          expect(connection[by]({ data: pattern(bytes) })).toBeDefined();
          if (how === "twice") expect(connection[by]({ data: pattern(bytes), ahead: -bytes })).toBeDefined();
          expect(peer.expects).toBe(end.next);
          if (late.length > 3) late.shift()!();
          connection[other]();
        }
        connection.send({ flags: FIN | ACK });
        connection.answer({ flags: FIN | ACK });
        connection.send();
        expect(connection.state).toBe("time-wait");
        expect(connection.rig.drops).toEqual({});
      }),
      { numRuns: 60 },
    );
  });
});

test("windows are followed as they are offered: data acknowledged at once may be followed by as much again", () => {
  const options: ConnectionOptions = { remoteWindow: 2000 };
  const connection = Connection.open(options);
  connection.answer();
  for (let i = 0; i < 100; i++) {
    connection.send({ data: pattern(1000) });
    connection.send({ data: pattern(1000), flags: ACK | PSH });
    connection.answer();
  }
  connection.send({ flags: FIN | ACK });
  expect(connection.state).toBe("fin-wait");
});

test("a segment whose header lies about options is followed like one without", () => {
  // A length of 0, of 1, and one beyond the header: the walk ends there, the scale behind it is not seen. Nor after the end of the list.
  for (const broken of [words(0x0200), words(0x0201), words(0x02ff), words(0x0100)]) {
    const connection = new Connection({ remoteScale: 7 });
    const tcpOptions = concat(broken, Uint8Array.of(3, 3, 7, 0));
    connection.send({ flags: SYN, tcpOptions });
    connection.answer({ flags: SYN | ACK, window: 1000 });
    connection.send();
    connection.answer({ window: 1000 });
    connection.send({ flags: RST, ahead: 1001 });
    expect(connection.state).toBe("established");
    connection.send({ flags: RST, ahead: 1000 });
    expect(connection.state).toBe("closed");
  }
});

test("numbers of a connection say nothing about another one's on the same row", () => {
  const connection = Connection.open({ flows: 1, remoteStart: 3_000_000_000 });
  connection.send({ flags: RST });
  connection.rig.pass(300_000);
  const { rig } = connection;
  const fields = { source: "192.168.10.9:9", destination: connection.remoteEndpoint };
  const left = rig.outOne(tcp({ ...fields, flags: SYN, sequence: 5 }));
  const answer = { source: connection.remoteEndpoint, destination: `${left.source}:${left.sourcePort}` };
  expect(rig.in(tcp({ ...answer, flags: SYN | ACK, sequence: 7, acknowledgment: 6 }))).toHaveLength(1);
  expect(rig.in(tcp({ ...answer, flags: RST, sequence: 8 }))).toHaveLength(1);
});
