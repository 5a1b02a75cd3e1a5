/**
 * Links of other sizes than the LAN's 1500: who is told, who cuts, and whether TCP gets through.
 *
 *   behind the providers    router ─1500─ isp1 ─1400─ server     the provider says "fragmentation needed"
 *                           router ─1500─ isp2 ─1300─ server
 *   in front of them        router ─1400─ isp1 ─1500─ server     the router says it, or cuts:
 *                           router ─1300─ isp2 ─1500─ server     its kernel above 1400, sluice above 1300
 *
 * A host remembers a path's MTU by its destination, so every question goes to another of the server's addresses.
 */

import { beforeEach, expect, it, onTestFinished } from "vitest";
import { countBy, describeForwarding, type Scene } from "../../support/forwarding.ts";
import { hold } from "../../support/holder.ts";
import { gatewayAddress, type Host, type Lab, routerLan, server } from "../../support/lab.ts";
import { startProgram } from "../../support/programs.ts";
import { download, expectedSha256, upload } from "../../support/transfer.ts";

const mtus = { isp1: 1400, isp2: 1300 } as const;
const bytes = 2 ** 24;
const checksum = expectedSha256(bytes);
const destinations = Array.from({ length: 16 }, (_, i) => `192.0.2.${20 + i}`);

/** Where sluice's own errors come from: the other host of the TUN's network. */
const sluiceAddress = "10.255.255.2";

async function startServers(lab: Lab): Promise<void> {
  await startProgram(lab, "server", "web-server", "80");
  await setPathDiscovery(lab, "server", "off");
  await startProgram(lab, "server", "echo-server", "7");
}

describeForwarding(
  "a narrow link behind a provider",
  { lab: { name: "path", pathMtu: mtus }, prepare: startServers },
  (scene) => {
    beforeEach(() => forgetPaths(scene));

    it("is told to the sender, with the MTU, by the provider's own error", async () => {
      const told = await Promise.all(destinations.map((destination) => askWithPing(scene, destination, 1450)));
      expect(new Set(told)).toEqual(new Set([`${gatewayAddress.isp1} 1400`, `${gatewayAddress.isp2} 1300`]));
    });

    it("is found by tracepath", async () => {
      const found = await Promise.all(
        destinations.map(async (destination) => {
          const { stdout } = await scene.lab.exec("client1", ["tracepath", "-n", "-m", "5", destination]);
          expect(stdout).toMatch(/hops 3 back 3/);
          return `${/ 2: +(\S+)/.exec(stdout)![1]} ${/Resume: pmtu (\d+)/.exec(stdout)![1]}`;
        }),
      );
      expect(new Set(found)).toEqual(new Set([`${gatewayAddress.isp1} 1400`, `${gatewayAddress.isp2} 1300`]));
    });

    it.each(["isp1", "isp2"] as const)("of %s lets TCP through, both ways", async (isp) => {
      expect(await upload(scene.lab, isp, bytes)).toBe(checksum);
      expect(await download(scene.lab, isp, bytes)).toBe(checksum);
    });
  },
);

describeForwarding(
  "an uplink narrower than the LAN",
  { lab: { name: "narrow", mtu: mtus }, prepare: startServers },
  (scene) => {
    beforeEach(() => forgetPaths(scene));

    it("is told to the sender: by the kernel what fits no uplink, by sluice what does not fit the flow's", async () => {
      const tooLongForAll = await askWithPing(scene, server, 1450);
      expect(tooLongForAll).toBe(`${routerLan} 1400`);
      const before = await scene.drops("too-big");
      const told = await Promise.all(destinations.map((destination) => askWithPing(scene, destination, 1350)));
      const { answered, [`${sluiceAddress} 1300`]: refused } = countBy(told, (answer) => answer);
      expect(answered! + refused!).toBe(destinations.length);
      expect(await scene.drops("too-big")).toBe(before + refused!);
    });

    it.each([1350, 1450, 3000])("is given pieces of an echo of %i bytes that may be cut", async (length) => {
      for (const destination of destinations) {
        const ping = ["ping", "-c", "1", "-W", "5", "-M", "dont", "-s", String(length - 28), destination];
        expect((await scene.lab.exec("client1", ping)).stdout).toMatch(/ 1 received/);
      }
    });

    it.each([1350, 1450, 3000])(
      "is given pieces of a UDP datagram of %i bytes that may be cut, with a good checksum",
      async (length) => {
        await setPathDiscovery(scene.lab, "client1", "off");
        onTestFinished(() => setPathDiscovery(scene.lab, "client1", "on"));
        const sockets = await hold(scene.lab, "client1", "udp", 16, { bytes: length - 28 });
        await sockets.untilAnswered(16);
        await sockets.stop();
      },
    );

    it.each(["isp1", "isp2"] as const)("of %s lets TCP through, both ways", async (isp) => {
      expect(await upload(scene.lab, isp, bytes)).toBe(checksum);
      expect(await download(scene.lab, isp, bytes)).toBe(checksum);
    });
  },
);

/** Pings once, not to be cut, with packets of so many bytes: "answered", or who says that they are too long and for which MTU. */
async function askWithPing(scene: Scene, destination: string, length: number): Promise<string> {
  const ping = ["ping", "-c", "1", "-W", "5", "-M", "do", "-s", String(length - 28), destination];
  const { stdout } = await scene.lab.exec("client1", ping, { mayFail: true });
  if (/ 1 received/.test(stdout)) return "answered";
  const [, from, mtu] = /^From (\S+) icmp_seq=1 Frag needed and DF set \(mtu = (\d+)\)$/m.exec(stdout) ?? [];
  if (from === undefined) throw new Error(`neither an answer nor an error:\n${stdout}`);
  return `${from} ${mtu}`;
}

async function forgetPaths({ lab }: Scene): Promise<void> {
  for (const host of ["client1", "server"] as const) await lab.exec(host, ["ip", "route", "flush", "cache"]);
}

/** Whether sockets that are opened from now on ask for the path's MTU: if not, they send without DF. */
async function setPathDiscovery(lab: Lab, host: Host, state: "on" | "off"): Promise<void> {
  await lab.exec(host, ["sysctl", "-qw", `net.ipv4.ip_no_pmtu_disc=${state === "on" ? 0 : 1}`]);
}
