/**
 * Who gets which outside endpoint, and who may send to it, by TCP and UDP in the lab's topology (scripts/lab), as
 * configured (RFC 4787, sections 4 and 5; RFC 5382, sections 4.1 and 4.3). Mirrors on two addresses and two ports of
 * the server tell what they see, and coturn finds out the same for itself (RFC 5780).
 */

import { beforeAll, describe, expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import { client1, client2, type Lab, server, server2 } from "../../support/lab.ts";
import { addressOf, ask, startMirrors } from "../../support/mirror.ts";
import { discover, startStunServer } from "../../support/stun.ts";

const protocols = ["udp", "tcp"] as const;
const mirrors = [`${server}:7`, `${server}:9`, `${server2}:7`, `${server2}:9`];
/** For coturn's test of the lifetime, in which a second socket must have the first one's outside address. */
const oneUplink = { balance: { key: "source" } };

async function prepare(lab: Lab): Promise<void> {
  await startMirrors(lab, "server", ...mirrors);
  await startStunServer(lab);
}

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

  it("of a port that two hosts use is endpoint-independent in coturn's eyes too", async () => {
    const [first, second] = await Promise.all([
      discover(scene.lab, "client1", client1, 41_900, "-m"),
      discover(scene.lab, "client2", client2, 41_900, "-m"),
    ]);
    for (const { text, reflexive } of [first, second]) {
      expect(text).toContain("NAT with Endpoint Independent Mapping!");
      expect(reflexive).toEqual([reflexive[0], reflexive[0]]);
    }
    expect(first.reflexive[0]).not.toBe(second.reflexive[0]);
  });

  describe("that depends on address and port", () => {
    beforeAll(() =>
      scene.restart({ ...oneUplink, nat: { mapping: "address-and-port-dependent", timeouts: { udp: "2s" } } }),
    );

    it.each(protocols)("is another outside endpoint for every remote by %s", async (protocol) => {
      const seen = await ask(scene.lab, "client1", protocol, "0.0.0.0:41000", mirrors);
      expect(seen.map(addressOf)).not.toContain(undefined);
      expect(new Set(seen).size).toBe(mirrors.length);
    });

    it("is so in coturn's eyes too, and over when its time is", async () => {
      const [mapping, lifetime] = await Promise.all([
        discover(scene.lab, "client1", client1, 41_901, "-m"),
        discover(scene.lab, "client1", client1, 41_902, "-t", "-T", "4"),
      ]);
      expect(mapping.text).toContain("NAT with Address and Port Dependent Mapping!");
      expect(lifetime.text).toContain("STUN receive timeout");
      expect(lifetime.reflexive).toHaveLength(1);
    });
  });

  /** Which of the mirror's host's other ports and of its other addresses come through. */
  describe.each([
    ["address-and-port-dependent", false, false],
    ["address-dependent", true, false],
    ["endpoint-independent", true, true],
  ])("with %s filtering", (filtering, otherPort, otherAddress) => {
    beforeAll(() => scene.restart({ ...oneUplink, nat: { filtering } }));

    it(`lets in ${letsIn(otherPort, otherAddress)}, in coturn's eyes too, while two hosts use one port`, async () => {
      const hidden = await startMirrors(scene.lab, "client2", "--known-to", mirrors[0]!, "43000");
      const strangers = [`${server}:4444`, `${server2}:4444`];
      const knock = async (protocol: "udp" | "tcp") => {
        const { mappedAddress, mappedPort } = await scene.flow({ protocol, source: client2, sourcePort: 43_000 });
        const door = [`${mappedAddress}:${mappedPort}`];
        return (await Promise.all(strangers.map((from) => ask(scene.lab, "server", protocol, from, door)))).flat();
      };
      const [heard, first, second] = await Promise.all([
        Promise.all(protocols.map(knock)),
        discover(scene.lab, "client1", client1, 41_903, "-f"),
        discover(scene.lab, "client2", client2, 41_903, "-f"),
      ]);
      const expected = [otherPort ? strangers[0] : null, otherAddress ? strangers[1] : null];
      expect(heard).toEqual([expected, expected]);
      for (const { text } of [first, second]) expect(text).toContain(`NAT with ${verdicts[filtering]} Filtering!`);
      await hidden.stop();
    });

    // With another filtering the host would have to be the mapping's remote before.
    if (otherAddress) {
      it("turns back what a host sends to its own mapping, which lives as long as it should", async () => {
        const [hairpin, lifetime] = await Promise.all([
          discover(scene.lab, "client1", client1, 41_904, "-H"),
          discover(scene.lab, "client1", client1, 41_905, "-t", "-T", "2"),
        ]);
        expect(hairpin.text).toContain("successful hairpinning");
        expect(lifetime.text).not.toContain("timeout");
        expect(lifetime.reflexive).toHaveLength(2);
      });
    }
  });
});

/** How coturn says it. */
const verdicts: Readonly<Record<string, string>> = {
  "address-and-port-dependent": "Address and Port Dependent",
  "address-dependent": "Address Dependent",
  "endpoint-independent": "Endpoint Independent",
};

function letsIn(otherPort: boolean, otherAddress: boolean): string {
  if (otherAddress) return "everyone";
  return otherPort ? "all ports of whom it has sent to, and no other host" : "whom it has sent to, and nobody else";
}
