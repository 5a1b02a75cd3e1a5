/** What the lab promises with `--ipv6`; scripts/lab describes it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Lab, openLab, server6 } from "../../support/lab.ts";

let lab: Lab;
beforeAll(async () => {
  lab = await openLab({ name: "lab6", ipv6: true, masquerade: true });
});
afterAll(() => lab.close());

describe("a lab with IPv6", () => {
  it("lets a client reach the server through the kernel's own translator", async () => {
    await lab.exec("client1", ["ping", "-c", "1", "-W", "5", server6]);
    expect(await lab.spoofed()).toEqual({ isp1: 0, isp2: 0 });
  });

  it("carries nothing for a provider that is cut, whose neighbours still find each other", async () => {
    await lab.cut("isp1");
    await lab.exec("router", ["ip", "neigh", "flush", "dev", "wan0"]);
    const ping = (target: string) => lab.exec("router", ["ping", "-c", "1", "-W", "1", target], { mayFail: true });
    expect((await ping(server6)).status).toBe(1);
    const { stdout } = await lab.exec("router", ["ip", "-6", "neigh", "show", "fe80::1", "dev", "wan0"]);
    expect(stdout).toContain("lladdr");
    await lab.restore("isp1");
    expect((await ping(server6)).status).toBe(0);
  });

  it("drops and counts a source that is not the subscriber's own, which the sniffer reports", async () => {
    await lab.masquerade("off");
    const sniffer = await lab.sniff();
    await lab.exec("client1", ["ping", "-c", "1", "-W", "1", server6], { mayFail: true });
    expect(await lab.spoofed()).toEqual({ isp1: 1, isp2: 0 });
    expect((await sniffer.stop()).join()).toContain("fd00:10::2 > 2001:db8:ff::10");
  });

  it("takes a source of the prefix for the subscriber's own only where a test says so", async () => {
    await lab.exec("router", ["ip", "address", "add", "2001:db8:101::5/128", "dev", "lo"]);
    const strict = await lab.sniff();
    const loose = await lab.sniff({ prefixes: true });
    await lab.exec("router", ["ping", "-c", "1", "-W", "5", "-I", "2001:db8:101::5", server6]);
    expect((await strict.stop()).join()).toContain("2001:db8:101::5 > 2001:db8:ff::10");
    expect(await loose.stop()).toEqual([]);
    await lab.exec("router", ["ip", "address", "del", "2001:db8:101::5/128", "dev", "lo"]);
  });
});
