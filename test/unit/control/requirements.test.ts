import { createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { parseConfig } from "../../../src/control/config.ts";
import type { NativeProbe } from "../../../src/control/native-probe.ts";
import { checkRequirements } from "../../../src/control/requirements.ts";
import { DeviceError } from "../../../src/io/device-error.ts";

const working: NativeProbe = { load: () => {}, openTun: () => {}, openPacketSockets: () => {} };

const configured = (more = "") =>
  parseConfig(`uplinks: [{ name: isp1, interface: wan0 }]\nsteer: { local: true }\n${more}`, "f").config;

async function find(name: string, probe: NativeProbe, config = configured()) {
  return (await checkRequirements(config, probe)).find((item) => item.name === name);
}

function refusing(problem: DeviceError["problem"]): () => never {
  return () => {
    throw new DeviceError(problem, "in words", new Error("tunOpen: probe-1: ENOENT (open /dev/net/tun)"));
  };
}

describe("the requirements", () => {
  it("say what was tried and with how many workers", async () => {
    const asked: number[] = [];
    const probe = { ...working, openTun: (queues: number) => void asked.push(queues) };
    expect(await find("TUN", probe, configured("workers: 1"))).toMatchObject({ ok: true, needed: true, fix: "" });
    expect(await find("TUN", probe, configured("workers: 3"))).toMatchObject({ ok: true });
    expect(asked).toEqual([1, 3]);
  });

  it("name a missing TUN driver, what the system said, and the command that loads it", async () => {
    const item = await find("TUN", { ...working, openTun: refusing("no-tun-driver") });
    expect(item).toMatchObject({ ok: false, needed: true, detail: expect.stringContaining("ENOENT") });
    expect(item!.fix).toMatch(/modprobe tun/);
  });

  it("offer one worker where the kernel cannot steer several", async () => {
    expect((await find("TUN", { ...working, openTun: refusing("no-steering") }))!.fix).toMatch(/workers: 1/);
  });

  it("of the devices are left untried when the shim is not built", async () => {
    const probe: NativeProbe = {
      load: () => {
        throw new Error("the native shim is not built for this machine\nwith a second line");
      },
      openTun: () => expect.unreachable(),
      openPacketSockets: () => expect.unreachable(),
    };
    expect(await find("native shim", probe)).toMatchObject({
      ok: false,
      needed: true,
      detail: "the native shim is not built for this machine",
      fix: expect.stringContaining("npm ci"),
    });
    expect(await find("TUN", probe)).toBeUndefined();
  });

  it("notice a service within nat.ports, which is advice and no obstacle", async () => {
    const service = createServer();
    await new Promise<void>((resolve) => service.listen(0, "127.0.0.1", resolve));
    const { port } = service.address() as { port: number };
    const range = `nat: { ports: ${port}-${port + 1} }\nworkers: 1`;
    const taken = await find("listeners in nat.ports", working, configured(range));
    expect(taken).toMatchObject({ ok: false, needed: false, detail: expect.stringContaining(`${port}/tcp`) });
    await new Promise((resolve) => service.close(resolve));
    const free = await find("listeners in nat.ports", working, configured(range));
    expect(free!.detail).not.toContain(`${port}/tcp`);
  });

  it("always come with a fix when they are not met, and never with one when they are", async () => {
    for (const item of await checkRequirements(configured(), { ...working, openTun: refusing("other") })) {
      expect(item.fix === "", item.name).toBe(item.ok);
    }
  });
});
