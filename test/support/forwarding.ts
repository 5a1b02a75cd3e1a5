/**
 * The frame of the traffic tests: a lab, sluice in its router with one worker and with two, and a sniffer
 * on all uplinks during every test, which must have seen nothing that must not leave the router.
 *
 *     describeForwarding("a ping", { lab: { name: "ping" } }, (scene) => {
 *       it("is answered", () => scene.lab.exec("client1", ["ping", "-c", "1", server]));
 *     });
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFailed } from "vitest";
import { requestJson } from "../../src/control/client.ts";
import type { FlowReport, StatusReport } from "../../src/control/report.ts";
import { type Lab, type LabOptions, openLab } from "./lab.ts";
import { labConfig, type Sluice } from "./sluice.ts";
import type { SniffOptions } from "./sniffer.ts";
import { until } from "./until.ts";

export interface ForwardingOptions {
  lab: LabOptions;
  /** Keys of sluice's configuration beside the lab's own (`labConfig`). */
  config?: object;
  /** Starts what every test needs in the lab: servers. They serve the daemons of all numbers of workers. */
  prepare?: (lab: Lab) => Promise<unknown>;
  /** What the sniffer shall know of the configuration. */
  sniff?: SniffOptions;
}

/** SLUICE_TEST_FULL=1: take the time for the largest amounts everywhere. */
export const isFull = process.env.SLUICE_TEST_FULL === "1";

/** Declares `tests` once for each number of workers. What `scene` holds is there when a test runs. */
export function describeForwarding(story: string, options: ForwardingOptions, tests: (scene: Scene) => void): void {
  describe(story, () => {
    const scene = new Scene();
    beforeAll(async () => {
      scene.lab = await openLab(options.lab);
      await options.prepare?.(scene.lab);
    });
    afterAll(() => scene.lab?.close());
    describe.each([1, 2])("by %i worker(s)", (workers) => {
      beforeAll(async () => {
        scene.workers = workers;
        await scene.start(options.config ?? {});
      });
      afterAll(async () => {
        expect(await scene.sluice.stop(), "the daemon's exit status").toBe(0);
      });
      watch(scene, options.sniff);
      tests(scene);
    });
  });
}

const gapTable = "table ip gap";
const silence = "tcp flags & rst == rst drop; icmp type destination-unreachable drop;";
const silentGap = `chain output { type filter hook output priority 0; ${silence} };`;

export class Scene {
  lab!: Lab;
  sluice!: Sluice;
  workers!: number;

  /** Starts a daemon with these keys beside the lab's own, and returns when traffic goes through it. */
  async start(config: object): Promise<void> {
    this.sluice = await this.lab.sluice(labConfig(this.lab, { workers: this.workers, ...config }));
    await this.sluice.waitFor(/is forwarding/);
  }

  /** Ends the daemon, does something in between, and starts another one; the sniffer goes on. */
  async restart(config: object, between: () => Promise<void> = async () => {}): Promise<void> {
    // As long as there is no daemon the kernel translates: the LAN may still be saying goodbye. And it answers what comes for
    // translated ports, which the sniffer would see.
    await this.lab.masquerade("on");
    await this.lab.exec("router", ["nft", `${gapTable} { ${silentGap} }`]);
    expect(await this.sluice.stop(), "the daemon's exit status").toBe(0);
    await between();
    await this.start(config);
    await this.lab.exec("router", ["nft", `delete ${gapTable}`]);
    await this.lab.masquerade("off");
  }

  /** What `sluice status --json` prints, without the time that a command takes to start. */
  status(): Promise<StatusReport> {
    return requestJson(this.sluice.socket, "/status");
  }

  /** What `sluice flows --json` prints. */
  flows(): Promise<FlowReport[]> {
    return requestJson(this.sluice.socket, "/flows");
  }

  /** The one flow that answers a description; waits for it a little, as it may be about to begin. */
  async flow(description: Partial<FlowReport>): Promise<FlowReport> {
    const fields = Object.entries(description) as [keyof FlowReport, unknown][];
    let found: FlowReport | undefined;
    await until(`a flow that is ${JSON.stringify(description)}`, async () => {
      found = (await this.flows()).find((flow) => fields.every(([field, value]) => flow[field] === value));
      return found !== undefined;
    });
    return found!;
  }

  /** How many packets were dropped for this reason. */
  async drops(reason: string): Promise<number> {
    return (await this.status()).drops[reason] ?? 0;
  }
}

function watch(scene: Scene, sniff: SniffOptions = {}): void {
  beforeEach(async () => {
    onTestFailed(async () => console.log(JSON.stringify(await scene.status(), null, 1), scene.sluice.output));
    const sniffer = await scene.lab.sniff(sniff);
    const daemon = scene.sluice;
    const before = await faultsOf(scene);
    return async () => {
      expect(await sniffer.stop(), "what left an uplink and must not").toEqual([]);
      const after = await faultsOf(scene);
      // A daemon that was started within the test counts from nothing.
      expect(after, "packets that were spoilt").toEqual(scene.sluice === daemon ? before : {});
    };
  });
  afterEach(() => {
    expect(scene.sluice.output, "the daemon's log").not.toMatch(/"level":"(error|fatal)"/);
  });
}

/**
 * Reasons that mean that a packet was spoilt or sent the wrong way; the lab does neither, so it was sluice.
 * A full queue or table is not among them: that is what a busy machine does.
 */
const faults =
  /^(ip-.*|vnet-header|tcp-truncated|tcp-flags|udp-length|icmp-truncated|icmp-checksum|fragment-(too-short|beyond-end)|wrong-uplink|own-address|bad-.*)$/;

async function faultsOf(scene: Scene): Promise<Record<string, number>> {
  const { drops } = await scene.status();
  return Object.fromEntries(Object.entries(drops).filter(([reason]) => faults.test(reason)));
}

/** Uplinks with these weights, the first of them the lab's first. */
export function weighted(...weights: number[]): { uplinks: object[] } {
  return { uplinks: weights.map((weight, index) => ({ name: `isp${index + 1}`, interface: `wan${index}`, weight })) };
}

export function countBy<T>(items: readonly T[], key: (item: T) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[key(item)] = (counts[key(item)] ?? 0) + 1;
  return counts;
}
