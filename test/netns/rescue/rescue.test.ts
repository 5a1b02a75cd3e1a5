/**
 * New connections while a provider drops all that goes beyond its gateway, and nobody has noticed yet: neither probes
 * nor the traffic may tell here. The topology is the lab's (scripts/lab), with IPv6.
 */

import { afterEach, expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import { impair } from "../../support/impairment.ts";
import { type Lab, server, server6, uplinkAddress, uplinkAddress6 } from "../../support/lab.ts";
import { runProgram, startProgram } from "../../support/programs.ts";
import { visits } from "../../support/visit.ts";

const mirrorPort = 4000;
/** So many that some take the dead line: one in a million times none does. */
const attempts = 20;
const uplinks = ["wan0", "wan1"].map((name, i) => ({ name: `isp${i + 1}`, interface: name, passive: false }));
const families = [
  ["IPv4", server, uplinkAddress.isp2],
  ["IPv6", `[${server6}]`, uplinkAddress6.isp2],
] as const;

const story = "connections while a provider is a black hole";
describeForwarding(story, { lab: { name: "rescue", ipv6: true }, config: { uplinks }, prepare }, (scene) => {
  afterEach(() => impair(scene.lab, "isp1", {}));

  it.each(families)("over %s all succeed, by the other uplink", async (_, web, address) => {
    await impair(scene.lab, "isp1", { drop: "beyond" });
    const seen = await visits(scene.lab, "client1", web, attempts);
    expect(new Set(seen.map((visit) => visit.address.replace("::ffff:", "")))).toEqual(new Set([address]));
    expect((await scene.status()).uplinks.map(({ state }) => state)).toEqual(["up", "up"]);
  });

  it("are joined by datagrams that are repeated", async () => {
    await impair(scene.lab, "isp1", { drop: "beyond" });
    const answers = (await repeat(scene.lab)) as string[];
    expect(new Set(answers.map((answer) => answer.split(":")[0]))).toEqual(new Set([uplinkAddress.isp2]));
  });

  it("fail in part when rescue is off", async () => {
    await scene.restart({ uplinks, balance: { rescue: false } });
    await impair(scene.lab, "isp1", { drop: "beyond" });
    expect(await repeat(scene.lab)).toContain(null);
    await impair(scene.lab, "isp1", {});
    await scene.restart({ uplinks });
  });
});

/** What a mirror says to questions from so many ports at once; null where it never came to an answer. */
function repeat(lab: Lab): Promise<(string | null)[]> {
  return runProgram(lab, "client1", "repeat", `${server}:${mirrorPort}`, String(attempts));
}

async function prepare(lab: Lab): Promise<void> {
  await startProgram(lab, "server", "web-server", "80", "::");
  await startProgram(lab, "server", "mirror", String(mirrorPort));
}
