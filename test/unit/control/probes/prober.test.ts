import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ProbeConfig } from "../../../../src/control/config-types.ts";
import type { Answer, AskerSettings } from "../../../../src/control/probes/asker.ts";
import {
  mostOutstanding,
  type ProbePath,
  type ProbeRound,
  pickIdentifier,
  startProber,
  targetsOf,
} from "../../../../src/control/probes/prober.ts";

const thresholds = { lossRatio: null, latencyMs: null, jitterMs: null };
const config: ProbeConfig = {
  ...{ type: "icmp", targets: ["192.0.2.10"], quorum: 1, intervalMs: 100, timeoutMs: 250, down: 3, up: 3, window: 30 },
  ...{ ...thresholds, degraded: thresholds, query: "." },
};
const path: ProbePath = {
  ...{ interface: "wan0", ifindex: 7, address: "203.0.113.2", gateway: "203.0.113.1" },
  ...{ address6: null, gateway6: null, linkHeaderBytes: 14 },
};

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A prober whose questions are answered by hand. */
function start(changes: Partial<ProbeConfig> = {}, from: ProbePath = path) {
  const rounds: ProbeRound[] = [];
  const opened: AskerSettings[] = [];
  const closed: ProbePath[] = [];
  const asked: { target: string; timeoutMs: number; answer: (answer: Answer) => void }[] = [];
  const open = (settings: AskerSettings) => {
    opened.push(settings);
    return {
      ask: (target: string, timeoutMs: number) =>
        new Promise<Answer>((answer) => asked.push({ target, timeoutMs, answer })),
      close: () => closed.push(settings.path),
    };
  };
  const prober = startProber(from, { ...config, ...changes }, (round) => rounds.push(round), { open });
  return { prober, rounds, opened, closed, asked };
}

const answered: Answer = { answered: true, rttMs: 5 };
const tick = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe("a prober", () => {
  it("asks at once and then at every interval, and reports each round", async () => {
    const { asked, rounds } = start();
    expect(asked).toMatchObject([{ target: "192.0.2.10", timeoutMs: 250 }]);
    asked[0]!.answer(answered);
    await tick(0);
    expect(rounds).toMatchObject([{ answered: true, rttMs: 5 }]);
    await tick(100);
    expect(asked).toHaveLength(2);
    asked[1]!.answer({ answered: false, reason: "no route" });
    await tick(0);
    expect(rounds[1]).toMatchObject({ answered: false, reason: "192.0.2.10: no route" });
  });

  it("goes on asking while answers are awaited, up to a bound", async () => {
    const { asked } = start();
    await tick(2000);
    expect(asked).toHaveLength(mostOutstanding(config, 1));
    expect(asked).toHaveLength(4);
    asked[2]!.answer(answered);
    await tick(100);
    expect(asked).toHaveLength(5);
  });

  it("asks the gateway when there are no targets, of IPv6 when there is no other", async () => {
    expect(start({ targets: [] }).asked).toMatchObject([{ target: "203.0.113.1" }]);
    const only6 = { ...path, address: null, gateway: null, address6: "2001:db8:1::2", gateway6: "fe80::1" };
    expect(start({ targets: [] }, only6).asked).toMatchObject([{ target: "fe80::1" }]);
    expect(targetsOf(path, { ...config, type: "tcp", targets: [] })).toEqual([]);
  });

  it("reports a lost round at every interval when there is nobody to ask", async () => {
    const { rounds } = start({ targets: [] }, { ...path, gateway: null });
    await tick(0);
    expect(rounds).toEqual([{ answered: false, rttMs: null, reason: "no gateway is known on wan0", targets: [] }]);
    await tick(200);
    expect(rounds).toHaveLength(3);
    const missing = start({ targets: [] }, { ...path, gateway: null, ifindex: 0 });
    await tick(0);
    expect(missing.rounds[0]!.reason).toBe("wan0 is missing");
  });

  it("follows another path at once, closes the old one, and forgets what was asked there", async () => {
    const { prober, asked, rounds, opened, closed } = start();
    const next = { ...path, ifindex: 8 };
    await tick(30);
    prober.follow(next);
    expect(opened.map((settings) => settings.path)).toEqual([path, next]);
    expect(closed).toEqual([path]);
    expect(asked).toHaveLength(2);
    asked[0]!.answer({ answered: false, reason: "given up" });
    await tick(0);
    expect(rounds).toEqual([]);
    asked[1]!.answer(answered);
    await tick(0);
    expect(rounds).toMatchObject([{ answered: true }]);
  });

  it("asks by another path also when as much as possible waits on the old one", async () => {
    const { prober, asked } = start();
    await tick(2000);
    const before = asked.length;
    prober.follow({ ...path, address: "203.0.113.9" });
    expect(asked).toHaveLength(before + 1);
  });

  it("does nothing when the path is the same", async () => {
    const { prober, opened, asked } = start();
    prober.follow({ ...path });
    expect(opened).toHaveLength(1);
    expect(asked).toHaveLength(1);
  });

  it("reports and asks nothing after it was stopped", async () => {
    const { prober, asked, rounds, closed } = start();
    prober.stop();
    prober.stop();
    prober.follow({ ...path, ifindex: 8 });
    asked[0]!.answer(answered);
    await tick(1000);
    expect(closed).toEqual([path]);
    expect(asked).toHaveLength(1);
    expect(rounds).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("never lets an interval or a timeout wrap round to nothing", async () => {
    const { asked } = start({ intervalMs: 2 ** 33, timeoutMs: 2 ** 34 });
    await tick(10_000);
    expect(asked).toHaveLength(1);
    expect(asked[0]!.timeoutMs).toBe(86_400_000);
  });
});

describe("what may be outstanding", () => {
  it("is limited by sockets where every question has one", () => {
    expect(mostOutstanding({ ...config, intervalMs: 50, timeoutMs: 10_000 }, 16)).toBe(201);
    expect(mostOutstanding({ ...config, type: "tcp", intervalMs: 50, timeoutMs: 10_000 }, 16)).toBe(4);
    expect(mostOutstanding({ ...config, type: "dns", intervalMs: 500, timeoutMs: 1000 }, 3)).toBe(3);
  });
});

describe("an identifier", () => {
  it("is never one that a translated ping may have", () => {
    const natPorts = { firstPort: 1024, lastPort: 65_000 };
    for (let number = 0; number < 65_536; number += 7) {
      const picked = pickIdentifier(() => Uint8Array.from([number >> 8, number & 255]), natPorts);
      expect(picked < 1024 || (picked > 65_000 && picked < 65_536), String(picked)).toBe(true);
    }
  });
});
