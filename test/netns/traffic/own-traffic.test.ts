/**
 * The router's own traffic, in the lab's topology (scripts/lab): balanced like the LAN's when a socket leaves
 * the choice open, kept on an uplink when it is bound to the uplink's own address or interface, and direct
 * between the router and its LAN. The web server says where a visitor came from.
 */

import { expect, it } from "vitest";
import { countBy, describeForwarding, type Scene } from "../../support/forwarding.ts";
import { client1, type Isp, type Lab, routerLan, server, uplinkAddress, uplinkInterface } from "../../support/lab.ts";
import { startProgram } from "../../support/programs.ts";
import { visit, visits } from "../../support/visit.ts";

const isps: Isp[] = ["isp1", "isp2"];
const addresses = isps.map((isp) => uplinkAddress[isp]);

async function startServers(lab: Lab): Promise<void> {
  for (const host of ["server", "router", "client1"] as const) await startProgram(lab, host, "web-server", "80");
}

describeForwarding("the router's own traffic", { lab: { name: "own" }, prepare: startServers }, (scene) => {
  it("is balanced over the uplinks when nothing binds it", async () => {
    const seen = await visits(scene.lab, "router", server, 32);
    expect(Object.keys(countBy(seen, ({ address }) => address)).sort()).toEqual(addresses.sort());
    // Each is one flow, translated to what the server saw.
    const flows = (await scene.flows()).map((flow) => `${flow.sourcePort} ${flow.mappedAddress} ${flow.mappedPort}`);
    for (const { ownPort, address, port } of seen) expect(flows).toContain(`${ownPort} ${address} ${port}`);
  });

  it.each([
    ["isp1", "address", uplinkAddress.isp1],
    ["isp2", "address", uplinkAddress.isp2],
    ["isp1", "interface", uplinkInterface.isp1],
    ["isp2", "interface", uplinkInterface.isp2],
  ] as const)("keeps %s, and is not translated, when bound to its %s", async (isp, _, binding) => {
    const before = (await scene.status()).flows.opened;
    for (let i = 0; i < 8; i++) {
      const { address, port, ownPort } = await visit(scene.lab, "router", server, "--interface", binding);
      expect({ address, port }).toEqual({ address: uplinkAddress[isp], port: ownPort });
    }
    const ping = ["ping", "-c", "1", "-W", "5", "-I", binding, "-s", "3000", server];
    expect((await scene.lab.exec("router", ping)).stdout).toMatch(/ 1 received/);
    expect((await scene.status()).flows.opened).toBe(before);
  });

  it("pings, in fragments too, and asks for names", async () => {
    for (const size of ["56", "3000"]) {
      await scene.lab.exec("router", ["ping", "-c", "3", "-i", "0.02", "-w", "10", "-s", size, server]);
    }
    const refused = await scene.lab.exec("router", ["dig", "+tries=1", "+time=5", `@${server}`, "a.test"], {
      mayFail: true,
    });
    expect(refused.stdout).toMatch(/connection refused/);
  });

  it.each(isps)("as a service on %s's address answers through the same uplink", async (isp) => {
    const before = await countersOf(scene, isp);
    const { address } = await visit(scene.lab, "server", uplinkAddress[isp]);
    expect(address).toBe(server);
    expect(await countersOf(scene, isp)).toEqual(before);
    expect(await scene.lab.spoofed()).toEqual({ isp1: 0, isp2: 0 });
  });

  it("with the LAN is direct in both directions", async () => {
    const before = (await scene.status()).flows.opened;
    expect((await visit(scene.lab, "client1", routerLan)).address).toBe(client1);
    for (const isp of isps) expect((await visit(scene.lab, "client1", uplinkAddress[isp])).address).toBe(client1);
    expect((await visit(scene.lab, "router", client1)).address).toBe(routerLan);
    expect((await scene.status()).flows.opened).toBe(before);
  });
});

/** Packets that sluice forwarded over an uplink. */
async function countersOf(scene: Scene, isp: Isp): Promise<number[]> {
  const { txPackets, rxPackets } = (await scene.status()).uplinks.find(({ name }) => name === isp)!;
  return [txPackets, rxPackets];
}
