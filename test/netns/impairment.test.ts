/**
 * What test/support/impairment.ts does to a provider: judged by pings from the router through that provider, and none through the other.
 * Topology: scripts/lab.
 */

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { impair } from "../support/impairment.ts";
import { gatewayAddress, type Lab, openLab, server, server2, server6 } from "../support/lab.ts";

const gateway = gatewayAddress.isp1;
const gateway6 = "2001:db8:1::1";

describe("a provider", () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await openLab({ name: "impairment", ipv6: true });
  });
  afterEach(() => impair(lab, "isp1", {}));
  afterAll(() => lab.close());

  interface Pings {
    received: number;
    /** Of the fastest. */
    rttMs: number;
  }

  async function ping(address: string, count = 2, device = "wan0", patienceSeconds = 4): Promise<Pings> {
    const command = ["ping", "-c", String(count), "-i", "0.002", "-W", String(patienceSeconds), "-I", device, address];
    const { stdout } = await lab.exec("router", command, { mayFail: true });
    return {
      received: Number(/(\d+) received/.exec(stdout)![1]),
      rttMs: Number(/min\/avg\S* = ([\d.]+)/.exec(stdout)?.[1] ?? Number.NaN),
    };
  }

  async function answers(addresses: readonly string[]): Promise<boolean[]> {
    const pings = await Promise.all(addresses.map((address) => ping(address, 2, "wan0", 1)));
    return pings.map(({ received }) => received > 0);
  }

  it("delays both families both ways, its gateway included, and the other provider not", async () => {
    await impair(lab, "isp1", { delayMs: 1000 });
    for (const address of [server, server6, gateway]) expect((await ping(address)).rttMs).toBeGreaterThan(999);
    expect((await ping(server, 5, "wan1")).rttMs).toBeLessThan(999);
  });

  it("changes its delay while it runs, and ends it", async () => {
    await impair(lab, "isp1", { delayMs: 3000 });
    await impair(lab, "isp1", { delayMs: 1000 });
    const { rttMs } = await ping(server, 5);
    expect(rttMs).toBeGreaterThan(999);
    expect(rttMs).toBeLessThan(2999);
    await impair(lab, "isp1", {});
    expect((await ping(server, 5)).rttMs).toBeLessThan(999);
  });

  it("delays what goes to one prefix by itself", async () => {
    await impair(lab, "isp1", { delayTo: [{ prefix: `${server2}/32`, delayMs: 1000 }] });
    expect((await ping(server2)).rttMs).toBeGreaterThan(999);
    expect((await ping(server, 5)).rttMs).toBeLessThan(999);
  });

  it("answers for its gateway, and drops all beyond it", async () => {
    await impair(lab, "isp1", { drop: "beyond" });
    expect(await answers([gateway, gateway6, server, server6])).toEqual([true, true, false, false]);
  });

  it("drops all that is IP, and still finds neighbours", async () => {
    await impair(lab, "isp1", { drop: "all" });
    expect(await answers([gateway, gateway6, server, server6])).toEqual([false, false, false, false]);
    expect(await findsGateway()).toBe(true);
  });

  it("is dead: not even neighbours are found", async () => {
    await impair(lab, "isp1", { drop: "dead" });
    expect(await answers([gateway, gateway6, server, server6])).toEqual([false, false, false, false]);
    expect(await findsGateway()).toBe(false);
  });

  async function findsGateway(): Promise<boolean> {
    await lab.exec("router", ["ip", "neighbour", "flush", "dev", "wan0"]);
    await ping(gateway, 1, "wan0", 1);
    return (await lab.exec("router", ["ip", "neighbour", "show", gateway, "dev", "wan0"])).stdout.includes("lladdr");
  }

  it("loses the share of round trips that it was told to, also of those to its gateway", async () => {
    await impair(lab, "isp1", { lossRatio: 0.3 });
    for (const address of [server, gateway]) {
      const { received } = await ping(address, 500);
      // Six standard deviations: once in a billion.
      expect(received).toBeGreaterThan(350 - 62);
      expect(received).toBeLessThan(350 + 62);
    }
  });

  it("is well again, with nothing left of its own", async () => {
    const state = async () => (await lab.exec("isp1", ["sh", "-c", "nft list tables; ip rule; ip -6 rule"])).stdout;
    await impair(lab, "isp1", { delayMs: 1 });
    await impair(lab, "isp1", {});
    const before = await state();
    await impair(lab, "isp1", {
      drop: "dead",
      lossRatio: 0.5,
      delayMs: 100,
      delayTo: [{ prefix: `${server}/32`, delayMs: 50 }],
    });
    expect(await state()).not.toBe(before);
    await impair(lab, "isp1", {});
    expect(await state()).toBe(before);
    expect(await answers([gateway, server, server6])).toEqual([true, true, true]);
  });

  it("cannot be told nonsense", async () => {
    await expect(impair(lab, "isp1", { lossRatio: 30 })).rejects.toThrow("lossRatio: expected 0 to 1, not 30");
    await expect(impair(lab, "isp1", { delayMs: -1 })).rejects.toThrow("delayMs: expected 0 to 10,000, not -1");
  });
});
