import { describe, expect, it } from "vitest";
import type { Answer } from "../../../../src/control/probes/asker.ts";
import { askRound, type ProbeRound } from "../../../../src/control/probes/round.ts";

/** A round whose targets answer when they are told to. */
function startRound(targets: string[], quorum: number) {
  const resolvers = new Map<string, (answer: Answer) => void>();
  const rounds: ProbeRound[] = [];
  let settled = 0;
  const ask = (target: string) => new Promise<Answer>((resolve) => resolvers.set(target, resolve));
  askRound(
    targets,
    quorum,
    ask,
    (round) => rounds.push(round),
    () => settled++,
  );
  const give = async (target: string, answer: Answer) => {
    resolvers.get(target)!(answer);
    await Promise.resolve();
  };
  return {
    rounds,
    settled: () => settled,
    answers: (target: string, rttMs: number) => give(target, { answered: true, rttMs }),
    fails: (target: string, reason: string) => give(target, { answered: false, reason }),
  };
}

describe("a round", () => {
  it("counts a question that could not even be asked as not answered", async () => {
    const round = new Promise<ProbeRound>((resolve) => {
      askRound(
        ["a"],
        1,
        () => Promise.reject(new Error("no descriptor left")),
        resolve,
        () => {},
      );
    });
    expect(await round).toMatchObject({ answered: false, rttMs: null, reason: "a: no descriptor left" });
  });

  it("of one target is answered when it answers", async () => {
    const { rounds, answers, settled } = startRound(["a"], 1);
    expect(rounds).toEqual([]);
    await answers("a", 7);
    expect(rounds).toEqual([
      { answered: true, rttMs: 7, reason: "", targets: [{ target: "a", answered: true, rttMs: 7, reason: "" }] },
    ]);
    expect(settled()).toBe(1);
  });

  it("is decided as soon as the quorum is reached, with the median time, and settled when all have answered", async () => {
    const { rounds, answers, fails, settled } = startRound(["a", "b", "c", "d", "e"], 3);
    await answers("a", 30);
    await fails("b", "no route");
    await answers("c", 10);
    expect(rounds).toEqual([]);
    await answers("d", 80);
    expect(rounds).toMatchObject([{ answered: true, rttMs: 30, reason: "" }]);
    expect(rounds[0]!.targets[4]).toEqual({ target: "e", answered: false, rttMs: null, reason: "no answer yet" });
    expect(settled()).toBe(0);
    await answers("e", 1);
    expect(rounds).toHaveLength(1);
    expect(rounds[0]!.targets[4]!.answered, "what was reported stays").toBe(false);
    expect(settled()).toBe(1);
  });

  it("is lost as soon as the quorum is out of reach, with the reasons of those that failed", async () => {
    const { rounds, answers, fails } = startRound(["a", "b", "c"], 2);
    await answers("a", 5);
    await fails("b", "no route");
    expect(rounds).toEqual([]);
    await fails("c", "refused");
    expect(rounds).toMatchObject([{ answered: false, rttMs: 5, reason: "b: no route; c: refused" }]);
  });

  it("does not blame those that it no longer waits for", async () => {
    const { rounds, fails } = startRound(["a", "b", "c"], 3);
    await fails("b", "no route");
    expect(rounds).toMatchObject([{ answered: false, rttMs: null, reason: "b: no route" }]);
  });

  it("has a median between the two in the middle", async () => {
    const { rounds, answers } = startRound(["a", "b"], 2);
    await answers("a", 10);
    await answers("b", 20);
    expect(rounds[0]!.rttMs).toBe(15);
  });

  it("asks for no more targets than there are", async () => {
    const { rounds, answers } = startRound(["a"], 3);
    await answers("a", 10);
    expect(rounds[0]!.answered).toBe(true);
  });

  it("keeps its reason short", async () => {
    const targets = Array.from({ length: 16 }, (_, i) => `192.0.2.${i + 1}`);
    const { rounds, fails } = startRound(targets, 1);
    for (const target of targets) await fails(target, "no answer within 1000 ms");
    expect(rounds[0]!.reason).toHaveLength(200);
  });
});
