/**
 * Transfers that must arrive byte by byte, over the uplink that the test wants. The server turns away who
 * comes by another one (programs/web-server.ts), and curl tries again from another port.
 */

import type { Lab } from "./lab.ts";
import { sha256OfPseudoRandom } from "./programs/pseudo-random.ts";
import { program } from "./programs.ts";
import { type Isp, server, uplinkAddress } from "./topology.ts";

/** More tries to hit one of two uplinks than ever fail by chance: all miss once in 2^60. */
const tries = 60;
/** What curl says to an HTTP error. */
const misdirected = 22;
const timeoutMs = 60_000;

/** Fetches so many bytes from the server's port 80 and returns their SHA-256. */
export function download(lab: Lab, isp: Isp, bytes: number): Promise<string> {
  const url = `http://${server}/via/${uplinkAddress[isp]}/${bytes}`;
  return untilDirected(lab, `curl -sf ${url} | ${program("pseudo-random", "sha256").join(" ")}`);
}

/** Sends so many bytes to the server's port 80 and returns their SHA-256 as the server computed it. */
export function upload(lab: Lab, isp: Isp, bytes: number): Promise<string> {
  const url = `http://${server}/via/${uplinkAddress[isp]}`;
  return untilDirected(lab, `${program("pseudo-random", String(bytes)).join(" ")} 2>&- | curl -sf -T - ${url}`);
}

/** The SHA-256 that a transfer of so many bytes must have. */
export const expectedSha256 = sha256OfPseudoRandom;

async function untilDirected(lab: Lab, pipe: string): Promise<string> {
  for (let attempt = 0; attempt < tries; attempt++) {
    const run = await lab.exec("client1", ["bash", "-o", "pipefail", "-c", pipe], { mayFail: true, timeoutMs });
    if (run.status === 0) return run.stdout.trim();
    if (run.status !== misdirected) throw new Error(`${pipe}: ${run.status}\n${run.stdout}${run.stderr}`);
  }
  throw new Error(`none of ${tries} connections took the uplink: ${pipe}`);
}
