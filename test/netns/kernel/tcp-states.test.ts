/** What nf_conntrack makes of every event in every state: the table that ours is compared with is the kernel's own word. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { kernelTransitions } from "../../conformance/tcp-kernel.ts";
import { type Segment, walks } from "../../conformance/tcp-walk.ts";
import { client1, server } from "../../support/lab.ts";
import { tcp } from "../../support/packets.ts";
import { type Crossing, openCrossing } from "./crossing.ts";
import type { Step } from "./plan.ts";

const firstPort = 20_000;

describe("nf_conntrack", () => {
  let crossing: Crossing;

  beforeAll(async () => {
    crossing = await openCrossing("tcp-states");
    await crossing.useKernel(true);
  });
  afterAll(() => crossing?.lab.close());

  it("goes from state to state as the table says that ours is compared with", async ({ skip }) => {
    const all = walks();
    const steps = all.map((walk, i) => walk.segments.map((segment) => stepOf(segment, firstPort + i)));
    const { outcomes } = await crossing.replay(steps.flat());
    const states = await statesByPort(crossing);
    // Built without CONFIG_NF_CONNTRACK_PROCFS.
    if (states === undefined) return skip("this kernel does not list its connections");
    const observed: Record<string, Record<string, string>> = {};
    let last = -1;
    for (const [i, walk] of all.entries()) {
      last += walk.segments.length;
      const state = states.get(firstPort + i) ?? "NONE";
      const name = `${walk.state} ${walk.side}`;
      observed[name] ??= {};
      observed[name][walk.event] = outcomes[last]!.passed > 0 ? state : `${state}!`;
    }
    expect(observed).toEqual(kernelTransitions);
  });
});

function stepOf({ side, flags, sequence, acknowledgment }: Segment, port: number): Step {
  const ends = [`${client1}:${port}`, `${server}:80`];
  const [source, destination] = side === "inside" ? ends : ends.reverse();
  const packet = tcp({ source: source!, destination: destination!, flags, sequence, acknowledgment });
  return { side: side === "inside" ? "inside" : "outside", packets: [Buffer.from(packet).toString("hex")] };
}

/** The states of the flows of this test, by the inside's port. */
async function statesByPort({ lab }: Crossing): Promise<Map<number, string> | undefined> {
  const { status, stdout } = await lab.exec("router", ["cat", "/proc/net/nf_conntrack"], { mayFail: true });
  if (status !== 0) return undefined;
  const lines = stdout.matchAll(/ tcp +6 \d+ (\w+) src=192\.168\.10\.2 .*? sport=(\d+)/g);
  return new Map(Array.from(lines, ([, state, port]) => [Number(port), state!]));
}
