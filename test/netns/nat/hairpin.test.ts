/**
 * Two hosts of one LAN that meet by their outside addresses, in the lab's topology (scripts/lab), as games and
 * calls do: a rendezvous on the server tells each how the other looks from outside (RFC 4787, REQ-9; RFC 5382, REQ-8).
 * Two dozen meetings at once spread over all pairs of uplinks and of workers.
 *
 *   client1 ─┐         ┌─ isp1 ─┐
 *            ├─ router ┤        ├─ server (rendezvous)
 *   client2 ─┘         └─ isp2 ─┘
 */

import { expect, it } from "vitest";
import { countBy, describeForwarding, type Scene } from "../../support/forwarding.ts";
import { client1, client2, type Lab, server, uplinkAddress } from "../../support/lab.ts";
import { addressOf, ask, startMirrors } from "../../support/mirror.ts";
import { runProgram, startProgram } from "../../support/programs.ts";

interface Meeting {
  own: string;
  peer: string;
  heard: string | null;
  from: string | null;
}

const count = 24;
const outside: string[] = [uplinkAddress.isp1, uplinkAddress.isp2];

async function startServers(lab: Lab): Promise<void> {
  await startProgram(lab, "server", "rendezvous", "3000");
  await startMirrors(lab, "server", `${server}:7`);
}

describeForwarding("two hosts of one LAN", { lab: { name: "hairpin" }, prepare: startServers }, (scene) => {
  it.each(["udp", "tcp"] as const)("meet by %s at each other's outside endpoints", async (protocol) => {
    const room = `${protocol}-${scene.workers}`;
    const firstPort = String(46_000 + 100 * scene.workers);
    const meet = (host: "client1" | "client2") =>
      runProgram<Meeting[]>(scene.lab, host, "punch", protocol, room, String(count), firstPort, `${server}:3000`);
    const [first, second] = await Promise.all([meet("client1"), meet("client2")]);
    for (const meeting of [...first!, ...second!]) {
      expect(meeting).toEqual({ ...meeting, heard: meeting.peer, from: meeting.peer });
      expect(outside).toContain(addressOf(meeting.own));
    }
    const pairs = countBy(first!, ({ own, peer }) =>
      addressOf(own) === addressOf(peer) ? "one uplink" : "two uplinks",
    );
    expect(Object.keys(pairs).sort(), "chance fails to make both once in eight million runs").toEqual([
      "one uplink",
      "two uplinks",
    ]);
  });

  it("reach each other unasked when anyone may send to a mapping, and see each other's outside endpoints", async () => {
    await scene.restart({ nat: { filtering: "endpoint-independent" } });
    const ports = Array.from({ length: 8 }, (_, i) => String(50_000 + 100 * scene.workers + i));
    await startMirrors(scene.lab, "client2", "--known-to", `${server}:7`, ...ports);
    for (const protocol of ["udp", "tcp"] as const) {
      const doors = await outsideOf(scene, client2, protocol);
      expect(doors).toHaveLength(ports.length);
      const seen = await ask(scene.lab, "client1", protocol, "0.0.0.0:0", doors);
      const guests = await outsideOf(scene, client1, protocol);
      for (const guest of seen) expect(guests).toContain(guest);
    }
  });
});

/** The outside endpoints of a host, as `sluice flows` has them. */
async function outsideOf(scene: Scene, source: string, protocol: string): Promise<string[]> {
  const flows = (await scene.flows()).filter((flow) => flow.source === source && flow.protocol === protocol);
  return [...new Set(flows.map((flow) => `${flow.mappedAddress}:${flow.mappedPort}`))];
}
