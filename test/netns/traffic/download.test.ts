/**
 * Long transfers that must arrive byte by byte, over each uplink, in the lab's topology (scripts/lab), with the
 * kernel handing over super-packets (offloads on, GRO on) and MTU-size packets (off), and with the two mixed.
 *
 * Once for each uplink it is a gigabyte; SLUICE_TEST_FULL=1 makes all of them gigabytes.
 */

import { beforeAll, describe, expect, it } from "vitest";
import { describeForwarding, type Scene } from "../../support/forwarding.ts";
import { server, uplinkAddress } from "../../support/lab.ts";
import { program, startProgram } from "../../support/programs.ts";
import { sha256OfPseudoRandom } from "../../support/programs/pseudo-random.ts";

const gigabyte = 2 ** 30;
const shortBytes = process.env["SLUICE_TEST_FULL"] === "1" ? gigabyte : 2 ** 25;
const checksums = new Map([gigabyte, shortBytes].map((bytes) => [bytes, sha256OfPseudoRandom(bytes)]));
/** More tries to hit an uplink than ever fail by chance: one in 2^60. */
const tries = 60;

describeForwarding(
  "a transfer",
  { lab: { name: "download" }, prepare: (lab) => startProgram(lab, "server", "web-server", "80") },
  (scene) => {
    describe.each([
      { offload: "on", gro: "off", bytes: gigabyte },
      { offload: "on", gro: "on", bytes: shortBytes },
      { offload: "off", gro: "on", bytes: shortBytes },
      { offload: "off", gro: "off", bytes: shortBytes },
    ] as const)("with offloads $offload and the router's GRO $gro", ({ offload, gro, bytes }) => {
      beforeAll(async () => {
        await scene.lab.offload(offload);
        await scene.lab.gro(gro);
      });

      it.each(["isp1", "isp2"] as const)("arrives whole by %s, in both directions", async (isp) => {
        expect(await download(scene, `via/${uplinkAddress[isp]}`, bytes)).toBe(checksums.get(bytes));
        expect(await upload(scene, `via/${uplinkAddress[isp]}`, shortBytes)).toBe(checksums.get(shortBytes));
      });
    });
  },
);

function download(scene: Scene, path: string, bytes: number): Promise<string> {
  const hash = program("pseudo-random", "sha256").join(" ");
  return untilDirected(scene, `curl -sf http://${server}/${path}/${bytes} | ${hash}`);
}

function upload(scene: Scene, path: string, bytes: number): Promise<string> {
  const source = program("pseudo-random", String(bytes)).join(" ");
  return untilDirected(scene, `${source} 2>/dev/null | curl -sf -T - http://${server}/${path}`);
}

/** Tries until a connection takes the uplink that the server insists on; curl's 22 is an HTTP error. */
async function untilDirected(scene: Scene, command: string): Promise<string> {
  for (let attempt = 0; attempt < tries; attempt++) {
    const run = await scene.lab.exec("client1", ["bash", "-o", "pipefail", "-c", command], { mayFail: true });
    if (run.status === 0) return run.stdout.trim();
    expect(run.status, run.stderr).toBe(22);
  }
  throw new Error(`none of ${tries} connections took the uplink: ${command}`);
}
