import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openAsks } from "../../../../src/control/probes/asks.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const nothing = () => {};
const open = () => openAsks<string>(() => performance.now());

describe("a question", () => {
  it("is answered with its round trip, without the time that the answer waited for us", async () => {
    const asks = open();
    const answer = asks.begin("a", 1000, nothing);
    vi.advanceTimersByTime(80);
    asks.answer("a", 30);
    expect(await answer).toEqual({ answered: true, rttMs: 50 });
    expect(asks.keys()).toEqual([]);
  });

  it("has the time that the kernel measured", async () => {
    const asks = open();
    const answer = asks.begin("a", 1000, nothing);
    vi.advanceTimersByTime(80);
    asks.answerMeasured("a", 12.5);
    expect(await answer).toEqual({ answered: true, rttMs: 12.5 });
  });

  it("ends without an answer when its time is over", async () => {
    const asks = open();
    const answer = asks.begin("a", 200, nothing);
    vi.advanceTimersByTime(201);
    expect(await answer).toEqual({ answered: false, reason: "no answer within 200 ms" });
  });

  it("is given back the time that the loop was busy, up to its timeout", async () => {
    let nowMs = 0;
    const asks = openAsks<string>(() => nowMs);
    const quick = asks.begin("a", 200, nothing);
    const slow = asks.begin("b", 200, nothing);
    nowMs = 350;
    vi.advanceTimersByTime(200);
    asks.answerMeasured("a", 20);
    expect(asks.keys()).toEqual(["b"]);
    vi.advanceTimersByTime(149);
    expect(asks.keys()).toEqual(["b"]);
    vi.advanceTimersByTime(1);
    expect(await quick).toEqual({ answered: true, rttMs: 20 });
    expect(await slow).toEqual({ answered: false, reason: "no answer within 200 ms" });

    const late = asks.begin("c", 200, nothing);
    nowMs = 9000;
    vi.advanceTimersByTime(400);
    expect(await late).toEqual({ answered: false, reason: "no answer within 200 ms" });
  });

  it("is answered by what has come in time, though the loop gets round to it only after its timeout", async () => {
    const asks = open();
    const answer = asks.begin("a", 200, () => asks.answer("a", 150));
    vi.advanceTimersByTime(200);
    expect(await answer).toEqual({ answered: true, rttMs: 50 });
  });

  it("is not answered by what has come too late, though the loop was late as well", async () => {
    let nowMs = 0;
    const asks = openAsks<string>(() => nowMs);
    const answer = asks.begin("a", 200, nothing);
    nowMs = 260;
    asks.answer("a", 10);
    expect(await answer).toEqual({ answered: false, reason: "answered only after 250 ms" });
  });

  it("is answered in its timeout at most by what has been there for nobody knows how long", async () => {
    let nowMs = 0;
    const asks = openAsks<string>(() => nowMs);
    const answers = ["a", "b"].map((key) => asks.begin(key, 200, nothing));
    nowMs = 30;
    asks.answerSeen("a");
    nowMs = 700;
    asks.answerSeen("b");
    expect(await Promise.all(answers)).toEqual([
      { answered: true, rttMs: 30 },
      { answered: true, rttMs: 200 },
    ]);
  });

  it("ends once, releases what it held once, and knows no later answer", async () => {
    const asks = open();
    const release = vi.fn();
    const answer = asks.begin("a", 200, nothing, release);
    asks.fail("a", "no route");
    asks.answer("a", 0);
    asks.failAll("given up");
    vi.advanceTimersByTime(200);
    expect(await answer).toEqual({ answered: false, reason: "no route" });
    expect(release).toHaveBeenCalledTimes(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("ends with all others when all are given up", async () => {
    const asks = open();
    const answers = ["a", "b"].map((key) => asks.begin(key, 200, nothing));
    expect(asks.keys()).toEqual(["a", "b"]);
    asks.failAll("given up");
    for (const answer of answers) expect(await answer).toEqual({ answered: false, reason: "given up" });
  });
});
