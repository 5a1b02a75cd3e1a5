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
    vi.advanceTimersByTime(200);
    expect(await answer).toEqual({ answered: false, reason: "no answer within 200 ms" });
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

  it("ends once, releases what it held once, and knows no later answer", async () => {
    const asks = open();
    const release = vi.fn();
    const answer = asks.begin("a", 200, nothing, release);
    asks.fail("a", "no route");
    asks.answer("a");
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
