/**
 * Long transfers that must arrive byte by byte, over each uplink, in the lab's topology (scripts/lab), with the
 * kernel handing over super-packets (offloads on, GRO on) and MTU-size packets (off), and with the two mixed.
 *
 * Once for each uplink it is a gigabyte; SLUICE_TEST_FULL=1 makes all of them gigabytes.
 */

import { beforeAll, describe, expect, it } from "vitest";
import { describeForwarding, isFull } from "../../support/forwarding.ts";
import { startProgram } from "../../support/programs.ts";
import { download, expectedSha256, upload } from "../../support/transfer.ts";

const gigabyte = 2 ** 30;
const shortBytes = isFull ? gigabyte : 2 ** 25;
const checksums = new Map([gigabyte, shortBytes].map((bytes) => [bytes, expectedSha256(bytes)]));

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
        expect(await download(scene.lab, isp, bytes)).toBe(checksums.get(bytes));
        expect(await upload(scene.lab, isp, shortBytes)).toBe(checksums.get(shortBytes));
      });
    });
  },
);
