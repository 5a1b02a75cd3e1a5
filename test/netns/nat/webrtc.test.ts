/**
 * A WebRTC data channel between two hosts of which each is behind a sluice, with coturn's STUN server and a rendezvous on
 * the lab's server (test/support/second-site.ts draws the second site). Nothing but hole punching can connect them: no
 * forward, no relay, and both translators let in only whom a host has sent to.
 */

import { afterAll, beforeAll, expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import { client1, type Lab, server, uplinkAddress } from "../../support/lab.ts";
import { sha256OfPseudoRandom } from "../../support/programs/pseudo-random.ts";
import { program, startProgram } from "../../support/programs.ts";
import { SecondSite, siteAddress } from "../../support/second-site.ts";
import { startStunServer, stunPort } from "../../support/stun.ts";

interface Call {
  sha256: string;
  local: string;
  remote: string;
}

const bytes = 1_000_000;
const callMs = 40_000;

async function prepare(lab: Lab): Promise<void> {
  await startStunServer(lab);
  await startProgram(lab, "server", "rendezvous", "3000");
}

describeForwarding("two hosts behind two sluices", { lab: { name: "webrtc" }, prepare }, (scene) => {
  let site: SecondSite;
  beforeAll(async () => {
    site = await SecondSite.open(scene.lab);
    await site.sluice({ workers: scene.workers });
  });
  afterAll(() => site?.close());

  it.each(["caller", "callee"])(
    "open a WebRTC data channel, the first site's host as %s, and send a megabyte each way",
    async (role) => {
      const leaks = await site.sniff();
      const call = (as: string) =>
        program("call", as, `${role}-${scene.workers}`, `${server}:3000`, `${server}:${stunPort}`, String(bytes));
      const far = site.spawn(call(role === "caller" ? "callee" : "caller"));
      const { stdout } = await scene.lab.exec("client1", call(role), { timeoutMs: callMs });
      await far.waitFor(/\}\n/, callMs);
      const [here, there] = [stdout, far.stdout].map((text) => JSON.parse(text) as Call);
      expect([here!.sha256, there!.sha256]).toEqual([sha256OfPseudoRandom(bytes), sha256OfPseudoRandom(bytes)]);
      // Each end talks to an outside endpoint of the other's.
      expect(here!.remote).toMatch(new RegExp(`^${siteAddress}:\\d+ (srflx|prflx)$`));
      const [, mappedAddress, mappedPort] = /^([\d.]+):(\d+) (?:srflx|prflx)$/.exec(there!.remote) ?? [];
      expect([uplinkAddress.isp1, uplinkAddress.isp2]).toContain(mappedAddress);
      const mapped = { mappedAddress: mappedAddress!, mappedPort: Number(mappedPort) };
      const flow = await scene.flow({ ...mapped, protocol: "udp", source: client1, destination: siteAddress });
      expect(flow.rxBytes).toBeGreaterThan(bytes);
      expect(await leaks(), "what left the second site with another source than its uplink's").toBe("");
    },
  );
});
