/** What comes in over IPv6 without having been asked for: silence, from sluice and from the router's own stack, and a count. */

import { expect, it } from "vitest";
import { describeForwarding, type Scene } from "../../support/forwarding.ts";
import { delegatedPrefix, server6, uplinkAddress6 } from "../../support/lab.ts";
import { runProgram } from "../../support/programs.ts";

const config = {
  uplinks: [
    { name: "isp1", interface: "wan0", ipv6: { prefix: delegatedPrefix.isp1 } },
    { name: "isp2", interface: "wan1" },
  ],
  nat: { insidePrefix: "fd00:10::/48" },
};
const knocks = 1000;

describeForwarding(
  "a stranger over IPv6",
  { lab: { name: "stranger6", ipv6: true }, config, sniff: { prefixes: true } },
  (scene) => {
    it.each([
      ["tcp", "an uplink's address", uplinkAddress6.isp2],
      ["udp", "an uplink's address", uplinkAddress6.isp2],
      ["tcp", "an uplink's prefix", "2001:db8:101::2"],
      ["udp", "an uplink's prefix", "2001:db8:101::2"],
    ] as const)("who knocks by %s at a thousand ports of %s hears nothing, and is counted", async (protocol, _, to) => {
      const { opened } = (await scene.status()).flows;
      const before = await allDrops(scene);
      const heard = await runProgram(scene.lab, "server", "knock", protocol, to, "20000", "20999", server6);
      expect(heard).toEqual({ sent: knocks, answers: {} });
      expect((await allDrops(scene)) - before).toBeGreaterThanOrEqual(knocks);
      expect((await scene.status()).flows.opened).toBe(opened);
    });

    it("who says that he is a router, or that a packet was too big, changes nothing", async () => {
      const route = () => scene.lab.exec("router", ["ip", "-6", "route", "show", "table", "all", "cache"]);
      const before = (await route()).stdout;
      // A "packet too big" for a packet that nobody sent: type 2, MTU 1280, and the quoted headers.
      const quoted =
        "6000000000081140" +
        "20010db8000200000000000000000002" +
        "20010db800ff00000000000000000010" +
        "4e20003500080000";
      await sendIcmp(scene, `02000000${"00000500"}${quoted}`);
      expect((await route()).stdout).toBe(before);
      await scene.lab.exec("client1", ["ping", "-c", "1", "-W", "5", server6]);
    });
  },
);

async function allDrops(scene: Scene): Promise<number> {
  return Object.values((await scene.status()).drops).reduce((sum, count) => sum + count, 0);
}

/** From the server to isp2's address; the kernel fills the checksum in. */
async function sendIcmp(scene: Scene, hex: string): Promise<void> {
  const octal = Array.from(Buffer.from(hex, "hex"), (byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
  const send = `printf '${octal}' | socat -u - IP6-SENDTO:[${uplinkAddress6.isp2}]:58`;
  await scene.lab.exec("server", ["sh", "-c", send]);
}
