/** Forwards over IPv6: a port of the uplinks' addresses leads to a host inside, or to the router itself, by an inside address. */

import { expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import { type Lab, routerLan6, server6, uplinkAddress6 } from "../../support/lab.ts";
import { startProgram } from "../../support/programs.ts";
import { visit } from "../../support/visit.ts";

const config = {
  forwards: [
    { protocol: "tcp", port: 8080, to: "[fd00:10::2]:80" },
    { protocol: "tcp", port: "9000-9002", to: "[fd00:10::3]:79-81" },
    { uplink: "isp1", protocol: "tcp", port: 2222, to: `[${routerLan6}]:80` },
    { protocol: "tcp", port: 8080, to: "192.168.10.3:81" },
  ],
};
const { isp1, isp2 } = uplinkAddress6;

describeForwarding("a forward over IPv6", { lab: { name: "ipv6-forwards", ipv6: true }, config, prepare }, (scene) => {
  it.each([
    ["a host inside", isp1, 8080],
    ["a host inside by the other uplink", isp2, 8080],
    ["a port in the middle of a range", isp1, 9001],
    ["the router itself", isp1, 2222],
  ])("leads to %s, which answers by the uplink that was asked", async (_, address, port) => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => visit(scene.lab, "server", `[${address}]:${port}`)),
    );
    // What the host sees is the server: nobody in between.
    for (const answer of answers) expect(answer.address).toBe(server6);
    const flow = await scene.flow({ mappedAddress: address, mappedPort: port });
    expect(flow.uplink).toBe(address === isp1 ? "isp1" : "isp2");
  });

  it("leads nowhere on an uplink that it is not for, and from ports beside it", async () => {
    for (const to of [`[${isp2}]:2222`, `[${isp1}]:9003`])
      await expect(visit(scene.lab, "server", to)).rejects.toThrow(/exit status 7/);
  });

  it("is one thing over IPv4 and another over IPv6", async () => {
    const answer = await visit(scene.lab, "server", "203.0.113.2:8080");
    expect(answer.address).toBe("192.0.2.10");
    const flow = await scene.flow({ mappedAddress: "203.0.113.2", mappedPort: 8080 });
    expect(flow).toMatchObject({ source: "192.168.10.3", sourcePort: 81 });
  });

  it.each(["client1", "client2"] as const)("is open to %s too, by the outside address", async (host) => {
    const answer = await visit(scene.lab, host, `[${isp1}]:8080`);
    // Its own outside address, perhaps of the other uplink.
    expect([isp1, isp2]).toContain(answer.address);
  });
});

async function prepare(lab: Lab): Promise<void> {
  for (const host of ["client1", "client2", "router"] as const) await startProgram(lab, host, "web-server", "80", "::");
  await startProgram(lab, "client2", "web-server", "81");
}
