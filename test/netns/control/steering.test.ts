/**
 * Rules and routes in a real router, asked by `ip route get`. The topology is the lab's (scripts/lab):
 *
 *   client1 192.168.10.2 ── lan0 router ┬ wan0 203.0.113.2  ── isp1 203.0.113.1  ┬ server 192.0.2.10
 *                                       └ wan1 198.51.100.2 ── isp2 198.51.100.1 ┘
 */

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { client1, type Lab, openLab, routerLan, server } from "../../support/lab.ts";
import { plainUplink } from "../../support/plain-uplink.ts";
import { snapshot } from "../../support/snapshot.ts";
import { Control, controlConfig, tun, tunAddress, until } from "./control.ts";

const modem2 = "198.51.100.1";
const wan0Address = "203.0.113.2";
const wan1Address = "198.51.100.2";

/** With their gateways, which cannot be learnt where main has no default route. */
const uplinks = [
  { name: "isp1", interface: "wan0", gateway: "203.0.113.1", ...plainUplink },
  { name: "isp2", interface: "wan1", gateway: modem2, ...plainUplink },
];

let lab: Lab;
let running: Control[] = [];

beforeAll(async () => {
  lab = await openLab({ name: "steering" });
});
afterEach(async () => {
  for (const control of running.reverse()) await control.process.stop();
  running = [];
});
afterAll(() => lab.close());

async function start(...args: Parameters<typeof controlConfig>): Promise<Control> {
  const control = await Control.start(lab, controlConfig(...args));
  running.push(control);
  return control;
}

/** The device and the source that the router's kernel chooses, or its refusal. */
async function routeGet(...words: string[]): Promise<string> {
  const { stdout, stderr } = await router(["ip", "-4", "route", "get", ...words], true);
  const device = / dev (\S+)/.exec(stdout)?.[1];
  return device === undefined ? stderr.trim() || stdout.trim() : device;
}

function router(command: string[], mayFail = false) {
  return lab.exec("router", command, { mayFail });
}

/** Takes both default routes out of main for as long as `during` lasts. */
async function withoutDefaultRoutes(during: () => Promise<void>): Promise<void> {
  const routes = (await router(["ip", "route", "show", "default"])).stdout.trim().split("\n");
  for (const route of routes) await router(["ip", "route", "del", ...route.trim().split(/\s+/)]);
  try {
    await during();
  } finally {
    for (const route of routes) await router(["ip", "route", "add", ...route.trim().split(/\s+/)]);
  }
}

describe("while sluice runs", () => {
  beforeAll(async () => {
    await Control.start(lab).then((control) => control.stop());
  });

  it("steers what comes from the LAN into the TUN, and leaves connected networks direct", async () => {
    await start();
    expect(await routeGet(server, "from", client1, "iif", "lan0")).toBe(tun);
    expect(await routeGet(modem2, "from", client1, "iif", "lan0")).toBe("wan1");
  });

  it("steers the machine's own connections with the TUN's address, and leaves connected networks direct", async () => {
    await start();
    expect((await router(["ip", "route", "get", server])).stdout).toContain(`dev ${tun}`);
    expect((await router(["ip", "route", "get", server])).stdout).toContain(`src ${tunAddress}`);
    expect(await routeGet(client1)).toBe("lan0");
    expect(await routeGet(modem2)).toBe("wan1");
  });

  it("follows more specific routes of the main table", async () => {
    await start();
    await router(["ip", "route", "add", "192.0.2.32/28", "via", "192.168.10.3"]);
    expect(await routeGet("192.0.2.33", "from", client1, "iif", "lan0")).toBe("lan0");
    expect(await routeGet("192.0.2.33")).toBe("lan0");
    await router(["ip", "route", "del", "192.0.2.32/28"]);
  });

  it("keeps a socket that is bound to an uplink's address on that uplink, towards the other uplink's network too", async () => {
    await start();
    for (const target of [server, modem2, "203.0.113.1"]) {
      expect(await routeGet(target, "from", wan0Address), target).toBe("wan0");
    }
    expect(await routeGet(server, "from", wan1Address)).toBe("wan1");
    await router(["ping", "-c", "1", "-W", "2", "-I", wan1Address, server]);
  });

  it("keeps a socket that is bound to an uplink's interface there, with the uplink's address", async () => {
    await withoutDefaultRoutes(async () => {
      await start({ uplinks });
      const { stdout } = await router(["ip", "route", "get", server, "oif", "wan1"]);
      expect(stdout).toContain(`via ${modem2} dev wan1`);
      expect(stdout).toContain(`src ${wan1Address}`);
    });
  });

  it("lets a service on an uplink's address answer a LAN host directly", async () => {
    await start();
    expect(await routeGet(client1, "from", wan0Address)).toBe("lan0");
    await lab.exec("client1", ["ping", "-c", "1", "-W", "2", wan0Address]);
  });

  it("brings what enters from the TUN to the LAN and to the machine itself", async () => {
    await start();
    expect(await routeGet(client1, "from", server, "iif", tun)).toBe("lan0");
    expect(await routeGet(tunAddress, "from", server, "iif", tun)).toBe("lo");
  });

  it("lets nothing that enters from the TUN leave by an uplink's default route", async () => {
    await start();
    expect(await routeGet("192.0.2.20", "from", server, "iif", tun)).toMatch(/Invalid argument/);
  });

  it("leaves multicast and the limited broadcast to the main table", async () => {
    await start();
    expect(await routeGet("224.0.0.251")).toBe("wan0");
    expect(await routeGet("255.255.255.255")).toBe("wan0");
  });

  it("survives a strict reverse-path check on every interface", async () => {
    await start();
    await router(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1"]);
    expect(await routeGet(client1, "from", server, "iif", tun)).toBe("lan0");
    expect(await routeGet(wan1Address, "from", server, "iif", "wan1")).toBe("lo");
    await router(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=2"]);
  });

  it.each([true, false])("passes the reverse-path check without a default route in main (local: %s)", async (local) => {
    await withoutDefaultRoutes(async () => {
      await start({ steer: { interfaces: ["lan0"], local }, uplinks });
      expect(await routeGet(client1, "from", server, "iif", tun)).toBe("lan0");
      expect(await routeGet(server, "from", client1, "iif", "lan0")).toBe(tun);
      expect(await routeGet(server)).toMatch(local ? tun : /unreachable/);
    });
  });

  it("leaves the machine's own connections alone when they are not to be steered", async () => {
    await start({ steer: { interfaces: ["lan0"], local: false } });
    expect(await routeGet(server)).toBe("wan0");
    expect(await routeGet(server, "from", client1, "iif", "lan0")).toBe(tun);
  });

  it("steers the answers of a service that forwards lead to, and nothing else of the machine's (local: false)", async () => {
    const steer = { interfaces: ["lan0"], local: false };
    const forward = { uplinks: ["isp1"], protocols: ["tcp" as const], firstPort: 8080, lastPort: 8080, toPort: 80 };
    await start({ steer, forwards: [{ ...forward, to: routerLan }] });
    expect(await routeGet(server, "from", routerLan)).toBe(tun);
    expect(await routeGet(client1, "from", routerLan)).toBe("lan0");
    expect(await routeGet(modem2, "from", routerLan), "a visitor in an uplink's own network").toBe("wan1");
    expect(await routeGet(server)).toBe("wan0");
    expect(await routeGet(server, "from", wan1Address)).toBe("wan1");
  });

  it("leaves that service's answers alone when no forward leads there", async () => {
    await start({ steer: { interfaces: ["lan0"], local: false } });
    expect(await routeGet(server, "from", routerLan)).toBe("wan0");
  });

  it("follows an uplink whose address changes, and puts back a rule that somebody took away", async () => {
    const control = await start();
    const default1 = ["default", "via", "203.0.113.1", "dev", "wan0", "metric", "100"];
    const readdress = async (from: string, to: string) => {
      await router(["ip", "address", "del", `${from}/24`, "dev", "wan0"]);
      await router(["ip", "address", "add", `${to}/24`, "dev", "wan0"]);
      await router(["ip", "route", "add", ...default1]);
    };
    await readdress(wan0Address, "203.0.113.77");
    await until(
      async () => (await routeGet(modem2, "from", "203.0.113.77")) === "wan0",
      () => `the route of the new address: ${control.process.output}`,
    );
    await until(
      async () => !(await router(["ip", "rule"])).stdout.includes(wan0Address),
      () => "the rules of the old address to go",
    );
    await readdress("203.0.113.77", wan0Address);
    await control.untilUplink("isp1", { address: wan0Address, state: "up" });
    await router(["ip", "rule", "del", "pref", String(control.slot.firstPriority + 6)]);
    expect(await routeGet(server, "from", client1, "iif", "lan0")).toBe("wan0");
    await router(["ip", "link", "set", "wan1", "mtu", "1400"]);
    await until(
      async () => (await routeGet(server, "from", client1, "iif", "lan0")) === tun,
      () => "the steering rule to come back",
    );
    await router(["ip", "link", "set", "wan1", "mtu", "1500"]);
  });

  it("tries once more when the kernel refuses a route, as it does when a link goes down meanwhile", async () => {
    const obstacle = join(lab.directory, "obstacle");
    const refuse = `rm ${obstacle}; echo "Error: Device for nexthop is not up." >&2; exit 2`;
    const script = `case "$*" in *"route replace"*" dev wan1"*) [ ! -e ${obstacle} ] || { ${refuse}; };; esac`;
    mkdirSync(join(lab.directory, "bin"));
    writeFileSync(join(lab.directory, "bin/ip"), `#!/bin/sh\n${script}\nexec /usr/bin/ip "$@"\n`, { mode: 0o755 });
    const env = { PATH: `${lab.directory}/bin:${process.env.PATH}` };
    const control = await Control.start(lab, controlConfig(), undefined, env);
    running.push(control);
    const routes = async () =>
      (await router(["ip", "route", "show", "table", String(control.slot.firstTable + 2)])).stdout;
    const whole = await routes();
    writeFileSync(obstacle, "");
    await router(["ip", "route", "flush", "table", String(control.slot.firstTable + 2)]);
    await router(["ip", "link", "set", "wan1", "mtu", "1400"]);
    await until(
      async () => (await routes()) === whole,
      () => `the routes of isp2: ${control.process.output}`,
    );
    expect(existsSync(obstacle), "nothing was refused").toBe(false);
    expect(control.events("error")).toEqual([]);
    await router(["ip", "link", "set", "wan1", "mtu", "1500"]);
  });

  it("lets two instances work side by side and leave each on its own", async () => {
    const before = await snapshot(lab, "router");
    const first = await start();
    const other = { name: "sluice1", address: "10.255.254.1", prefixLength: 30 };
    const second = await start({ tun: other, steer: { interfaces: ["lan1"], local: false } });
    expect(second.slot).not.toEqual(first.slot);
    await first.stop();
    expect((await router(["sysctl", "-n", "net.ipv4.ip_local_reserved_ports"])).stdout.trim()).toBe("16384-32767");
    expect((await router(["ip", "rule"])).stdout).toContain("iif lan1");
    await second.stop();
    expect(await snapshot(lab, "router")).toEqual(before);
  });

  it("refuses a second start on the same TUN name, with the owner's process", async () => {
    const first = await start();
    const second = new Control(lab);
    running.push(second);
    expect(await second.process.exited).toBe(1);
    expect(second.events("failed")).toEqual([
      { name: "InUseError", message: `${tun} is in use by another sluice, process ${first.process.pid}` },
    ]);
    expect(await routeGet(server)).toBe(tun);
  });

  it("undoes what it did when a step fails, and says which", async () => {
    const before = await snapshot(lab, "router");
    const control = new Control(lab, controlConfig({ tun: { name: tun, address: "203.0.113.2", prefixLength: 99 } }));
    running.push(control);
    expect(await control.process.exited).toBe(1);
    const [{ message }] = control.events("failed") as [{ message: string }];
    expect(message).toContain("ip addr replace 203.0.113.2/99 dev sluice0");
    expect(await snapshot(lab, "router")).toEqual(before);
  });
});

describe("after sluice", () => {
  it("leaves rules, routes, nft, links and sysctls as they were", async () => {
    const before = await snapshot(lab, "router");
    const control = await start();
    expect(await snapshot(lab, "router")).not.toEqual(before);
    await control.stop();
    expect(await snapshot(lab, "router")).toEqual(before);
    expect(control.events("left")).toEqual([[]]);
  });

  it("routes as ever right after kill -9, and the next start and stop leave nothing behind", async () => {
    const before = await snapshot(lab, "router");
    const control = await start();
    await control.kill();
    expect(await routeGet(server, "from", client1, "iif", "lan0")).toBe("wan0");
    expect(await routeGet(server)).toBe("wan0");
    expect(await routeGet(client1, "from", server, "iif", "wan0")).toBe("lan0");
    const next = await start();
    expect(next.events("recovered")).toEqual([
      expect.arrayContaining([expect.stringContaining("reserved ports 16384")]),
    ]);
    await next.stop();
    expect(await snapshot(lab, "router")).toEqual(before);
    expect((await router(["ip", "-details", "neigh"])).stdout).not.toContain("managed");
  });

  it("stops the steered traffic after kill -9 when failMode is closed, but not the uplinks' own", async () => {
    const before = await snapshot(lab, "router");
    await (await start({ failMode: "closed" })).kill();
    expect(await routeGet(server, "from", client1, "iif", "lan0")).toMatch(/No route to host/);
    expect(await routeGet(server)).toMatch(/No route to host/);
    expect(await routeGet(server, "from", wan1Address)).toBe("wan1");
    expect(await routeGet(client1)).toBe("lan0");
    await (await start()).stop();
    expect(await snapshot(lab, "router")).toEqual(before);
  });

  it("keeps the ports that the administrator reserved, before and meanwhile", async () => {
    const ports = async (value?: string) => {
      if (value !== undefined) await router(["sysctl", "-qw", `net.ipv4.ip_local_reserved_ports=${value}`]);
      return (await router(["sysctl", "-n", "net.ipv4.ip_local_reserved_ports"])).stdout.trim();
    };
    await ports("8080,20000-20010");
    const control = await start();
    expect(await ports()).toBe("8080,16384-32767");
    await ports("8080,9100,16384-32767");
    await control.stop();
    expect(await ports()).toBe("8080,9100,20000-20010");
    await ports("");
  });
});
