/** The states of a connection, as sequences of segments that a middlebox sees (RFC 9293, figure 5; nf_conntrack's documented states). */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  givesWay,
  isOpen,
  isOver,
  nextStateFromUplink,
  nextTcpState,
  tcpState,
  tcpStateNames,
} from "../../../src/dataplane/tcp-state.ts";
import { ACK, FIN, PSH, RST, SYN, URG } from "../../support/packets.ts";

/** "inside" and "remote" send; the state after all segments. */
type Segment = ["inside" | "remote", number];

function after(...segments: Segment[]): string {
  let state: number = tcpState.none;
  for (const [side, flags] of segments) state = nextTcpState(state, side === "inside" ? 0 : 1, flags);
  return Object.entries(tcpState).find(([, number]) => number === state)![0];
}

const handshake: Segment[] = [
  ["inside", SYN],
  ["remote", SYN | ACK],
  ["inside", ACK],
];

describe("a connection opens", () => {
  test("in three steps", () => {
    expect(after(["inside", SYN])).toBe("synSent");
    expect(after(["inside", SYN], ["remote", SYN | ACK])).toBe("synReceived");
    expect(after(...handshake)).toBe("established");
  });

  test("with every segment sent twice", () => {
    expect(after(...handshake.flatMap((segment) => [segment, segment]))).toBe("established");
  });

  test("from both sides at once, the answers in either order", () => {
    const both: Segment[] = [
      ["inside", SYN],
      ["remote", SYN],
    ];
    expect(after(...both)).toBe("simultaneousOpen");
    expect(after(...both, ["inside", SYN | ACK], ["remote", SYN | ACK], ["inside", ACK])).toBe("established");
    expect(after(...both, ["remote", SYN | ACK], ["inside", SYN | ACK], ["inside", ACK])).toBe("established");
  });

  test("not by the remote's ACK alone, and not by a SYN that only the remote has sent twice", () => {
    expect(after(["inside", SYN], ["remote", ACK])).toBe("synSent");
    expect(after(["inside", SYN], ["remote", SYN | ACK], ["remote", ACK])).toBe("synReceived");
  });

  test("with data, PSH and URG on the last step", () => {
    expect(after(...handshake.slice(0, 2), ["inside", ACK | PSH | URG])).toBe("established");
  });
});

describe("an established connection", () => {
  test("stays so through data, and through SYNs that do not belong (RFC 5961)", () => {
    const stray: Segment[] = [
      ["inside", ACK | PSH],
      ["remote", ACK],
      ["inside", SYN],
      ["remote", SYN],
      ["remote", SYN | ACK],
    ];
    expect(after(...handshake, ...stray)).toBe("established");
  });

  test("is half closed by either side, and data still flows both ways", () => {
    expect(after(...handshake, ["inside", FIN | ACK])).toBe("finInside");
    expect(after(...handshake, ["inside", FIN | ACK], ["remote", ACK], ["remote", ACK | PSH], ["inside", ACK])).toBe(
      "finInside",
    );
    expect(after(...handshake, ["remote", FIN | ACK], ["inside", ACK], ["inside", ACK | PSH])).toBe("finRemote");
    expect(after(...handshake, ["inside", FIN | ACK], ["inside", FIN | ACK])).toBe("finInside");
    expect(after(...handshake, ["remote", FIN | ACK], ["remote", FIN | ACK])).toBe("finRemote");
  });

  test.each([
    ["the inside first", "inside", "remote"],
    ["the remote first", "remote", "inside"],
  ] as const)("closes when both have sent a FIN and one an ACK: %s", (_, first, second) => {
    const fins: Segment[] = [...handshake, [first, FIN | ACK], [second, FIN | ACK]];
    expect(after(...fins)).toBe("closing");
    expect(after(...fins, [second, FIN | ACK])).toBe("closing");
    expect(after(...fins, [first, ACK])).toBe("timeWait");
    expect(after(...fins, [second, ACK])).toBe("timeWait");
    expect(after(...fins, [first, ACK], [second, FIN | ACK], [first, ACK])).toBe("timeWait");
  });
});

describe("a reset", () => {
  const before: Segment[][] = [
    [["inside", SYN]],
    handshake.slice(0, 2),
    handshake,
    [...handshake, ["inside", FIN | ACK]],
    [...handshake, ["remote", FIN | ACK]],
    [...handshake, ["remote", FIN | ACK], ["inside", FIN | ACK]],
  ];

  test("from either side ends the connection in every state", () => {
    for (const segments of before) {
      for (const side of ["inside", "remote"] as const) {
        expect(after(...segments, [side, RST])).toBe("closed");
        expect(after(...segments, [side, RST | ACK])).toBe("closed");
      }
    }
  });

  test("is not undone by what is still on its way", () => {
    expect(after(...handshake, ["remote", RST], ["inside", ACK], ["remote", FIN | ACK], ["remote", SYN])).toBe(
      "closed",
    );
  });
});

describe("a reset that comes from an uplink", () => {
  const open = [tcpState.established, tcpState.finInside, tcpState.finRemote];

  test("casts doubt on an open connection, whoever began it, and ends any other", () => {
    for (const direction of [0, 1]) {
      for (const flags of [RST, RST | ACK]) {
        for (const state of open) expect(nextStateFromUplink(state, direction, flags)).toBe(tcpState.reset);
        expect(nextStateFromUplink(tcpState.reset, direction, flags)).toBe(tcpState.reset);
        for (const state of [tcpState.synSent, tcpState.synReceived, tcpState.closing, tcpState.timeWait])
          expect(nextStateFromUplink(state, direction, flags)).toBe(tcpState.closed);
      }
    }
  });

  test("is taken back by what its remote says after it, and by nothing that the inside says", () => {
    for (const direction of [0, 1]) {
      expect(nextStateFromUplink(tcpState.reset, direction, ACK | PSH)).toBe(tcpState.established);
      const half = direction === 0 ? tcpState.finInside : tcpState.finRemote;
      expect(nextStateFromUplink(tcpState.reset, direction, FIN | ACK)).toBe(half);
      expect(nextStateFromUplink(tcpState.reset, direction, SYN | ACK)).toBe(tcpState.reset);
      for (const flags of [ACK, FIN | ACK, SYN | ACK])
        expect(nextTcpState(tcpState.reset, direction, flags)).toBe(tcpState.reset);
      expect(nextTcpState(tcpState.reset, direction, RST)).toBe(tcpState.closed);
    }
    expect(nextTcpState(tcpState.reset, 0, SYN), "a new connection").toBe(tcpState.synSent);
  });

  test("leaves every other segment to the table", () => {
    for (const state of Object.values(tcpState)) {
      if (state === tcpState.reset) continue;
      for (const flags of [SYN, SYN | ACK, FIN | ACK, ACK])
        expect(nextStateFromUplink(state, 1, flags)).toBe(nextTcpState(state, 1, flags));
    }
  });
});

describe("a connection that is over", () => {
  const over: Segment[][] = [
    [...handshake, ["inside", FIN | ACK], ["remote", FIN | ACK], ["inside", ACK]],
    [...handshake, ["inside", RST]],
  ];

  test("is opened again by a SYN from the inside, and by nothing else", () => {
    for (const segments of over) {
      const was = after(...segments);
      expect(after(...segments, ["inside", SYN])).toBe("synSent");
      for (const flags of [ACK, FIN | ACK, SYN | ACK]) expect(after(...segments, ["inside", flags])).toBe(was);
      for (const flags of [SYN, ACK, FIN | ACK, SYN | ACK]) expect(after(...segments, ["remote", flags])).toBe(was);
      expect(after(...segments, ["inside", SYN], ["remote", SYN | ACK], ["inside", ACK])).toBe("established");
    }
  });
});

test("every state is open, over or transitory, and has a name", () => {
  const states = Object.entries(tcpState);
  const named = (holds: (state: number) => boolean) => states.filter(([, state]) => holds(state)).map(([name]) => name);
  expect(named(isOpen)).toEqual(["established", "finInside", "finRemote"]);
  expect(named(isOver)).toEqual(["timeWait", "closed"]);
  expect(named(givesWay)).toEqual(["none", "synSent", "simultaneousOpen", "synReceived", "reset"]);
  expect(tcpStateNames).toHaveLength(states.length);
  expect(new Set(tcpStateNames).size).toBe(states.length);
});

test("no sequence of segments leads out of the states, nor back to none, and only the handshake to established", () => {
  const flags = fc.constantFrom(SYN, SYN | ACK, ACK, FIN | ACK, RST, RST | ACK, ACK | PSH);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom(0, 1), flags), { maxLength: 40 }), (segments) => {
      let state = nextTcpState(tcpState.none, 0, SYN);
      let hasRemoteSyn = false;
      for (const [direction, each] of segments) {
        state = nextTcpState(state, direction, each);
        hasRemoteSyn ||= direction === 1 && (each & SYN) !== 0;
        expect(state).toBeGreaterThan(tcpState.none);
        expect(state).toBeLessThanOrEqual(tcpState.closed);
        if (isOpen(state)) expect(hasRemoteSyn).toBe(true);
      }
    }),
    { numRuns: 1000 },
  );
});
