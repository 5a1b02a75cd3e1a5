/**
 * Who gets which outside endpoint, and who may send to it, by TCP and UDP in the lab's topology (scripts/lab), as
 * configured (RFC 4787, sections 4 and 5; RFC 5382, sections 4.1 and 4.3). Mirrors on two addresses and two ports of
 * the server tell what they see. discovery.test.ts asks somebody else's program the same.
 */

import { beforeAll, describe, expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import { client2, type Lab, server, server2 } from "../../support/lab.ts";
import { addressOf, ask, startMirrors } from "../../support/mirror.ts";

const protocols = ["udp", "tcp"] as const;
const mirrors = [`${server}:7`, `${server}:9`, `${server2}:7`, `${server2}:9`];
const prepare = (lab: Lab) => startMirrors(lab, "server", ...mirrors);

describeForwarding("a mapping", { lab: { name: "mapping" }, prepare }, (scene) => {
  it.each(protocols)("of a %s port is one outside endpoint for all remotes", async (protocol) => {
    for (const port of [41_000, 41_001, 41_002, 41_003]) {
      const seen = await ask(scene.lab, "client1", protocol, `0.0.0.0:${port}`, mirrors);
      expect(seen[0]).toMatch(/:/);
      expect(seen).toEqual(mirrors.map(() => seen[0]));
    }
  });

  it.each(protocols)(
    "of a %s port that two hosts use is an endpoint for each host, for all remotes",
    async (protocol) => {
      const fromPort = (host: "client1" | "client2") => ask(scene.lab, host, protocol, "0.0.0.0:42000", mirrors);
      const [first, second] = await Promise.all([fromPort("client1"), fromPort("client2")]);
      for (const seen of [first, second]) expect(seen).toEqual(mirrors.map(() => seen[0]));
      expect(first[0]).toMatch(/:/);
      expect(second[0]).toMatch(/:/);
      expect(first[0]).not.toBe(second[0]);
    },
  );

  describe("that depends on address and port", () => {
    beforeAll(() => scene.restart({ nat: { mapping: "address-and-port-dependent" } }));

    it.each(protocols)("is another outside endpoint for every remote by %s", async (protocol) => {
      const seen = await ask(scene.lab, "client1", protocol, "0.0.0.0:41000", mirrors);
      expect(seen.map(addressOf)).not.toContain(undefined);
      expect(new Set(seen).size).toBe(mirrors.length);
    });
  });

  /** Which of the mirror's host's other ports and of its other addresses come through. */
  describe.each([
    ["address-and-port-dependent", false, false],
    ["address-dependent", true, false],
    ["endpoint-independent", true, true],
  ])("with %s filtering", (filtering, otherPort, otherAddress) => {
    beforeAll(() => scene.restart({ nat: { filtering } }));

    it(`lets in ${letsIn(otherPort, otherAddress)}`, async () => {
      const hidden = await startMirrors(scene.lab, "client2", "--known-to", mirrors[0]!, "43000");
      const strangers = [`${server}:4444`, `${server2}:4444`];
      const knock = async (protocol: "udp" | "tcp") => {
        const { mappedAddress, mappedPort } = await scene.flow({ protocol, source: client2, sourcePort: 43_000 });
        const door = [`${mappedAddress}:${mappedPort}`];
        return (await Promise.all(strangers.map((from) => ask(scene.lab, "server", protocol, from, door)))).flat();
      };
      const heard = [otherPort ? strangers[0] : null, otherAddress ? strangers[1] : null];
      expect(await Promise.all(protocols.map(knock))).toEqual([heard, heard]);
      await hidden.stop();
    });
  });
});

function letsIn(otherPort: boolean, otherAddress: boolean): string {
  if (otherAddress) return "everyone";
  return otherPort ? "all ports of whom it has sent to, and no other host" : "whom it has sent to, and nobody else";
}
