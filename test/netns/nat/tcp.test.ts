/**
 * TCP in its rarer forms, between real kernels in the lab's topology (scripts/lab): both ends begin at once, a
 * stranger's SYN waits, half a connection ends long before the other, and a reset that was made up ends nothing
 * (RFC 5382, REQ-2, REQ-4 and REQ-5; RFC 5961).
 */

import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { describeForwarding, type Scene } from "../../support/forwarding.ts";
import { hold } from "../../support/holder.ts";
import { client1, type Lab, server, server2, uplinkAddress } from "../../support/lab.ts";
import { startMirrors } from "../../support/mirror.ts";
import { sha256OfPseudoRandom } from "../../support/programs/pseudo-random.ts";
import { program, startProgram } from "../../support/programs.ts";
import { until } from "../../support/until.ts";

/** Shorter than the pause within a half-closed connection, which must outlive it. */
const config = { nat: { timeouts: { tcpTransitory: "2s" } } };
const pauseMs = 3_500;
const bytes = 3_000_000;
/** RFC 5382, REQ-4: an unsolicited SYN gets no answer for 6 s. */
const silenceMs = 6_500;

async function startServers(lab: Lab): Promise<void> {
  await startMirrors(lab, "server", "9");
  await startProgram(lab, "server", "echo-server", "7");
}

describeForwarding("a TCP connection", { lab: { name: "tcp-rare" }, config, prepare: startServers }, (scene) => {
  it("comes about when both ends begin at once and their SYNs cross", async () => {
    const port = 44_000 + scene.workers;
    await withoutFirstSyn(scene, async () => {
      const inside = scene.lab.exec("client1", dial(`${server}:5000`, `:${port}`), { input: "from inside" });
      const { mappedAddress, mappedPort } = await scene.flow({ sourcePort: port, destinationPort: 5000 });
      const outside = dial(`${mappedAddress}:${mappedPort}`, `${server}:5000`);
      const heard = await Promise.all([inside, scene.lab.exec("server", outside, { input: "from outside" })]);
      expect(heard.map(({ stdout }) => stdout)).toEqual(["from outside", "from inside"]);
    });
  });

  it("comes about when the other end's SYN came first, unasked: it hears nothing for six seconds, and then a SYN", async () => {
    const port = 44_100 + scene.workers;
    const { mappedAddress, mappedPort } = await mappingOf(scene, port);
    const before = await scene.drops("unsolicited");
    const outside = scene.lab.spawn("server", dial(`${mappedAddress}:${mappedPort}`, `${server2}:5001`));
    await sleep(silenceMs);
    expect(outside.ended, `no answer, not even a refusal: ${outside.output}`).toBe(false);
    expect(await scene.drops("unsolicited")).toBeGreaterThan(before);
    const inside = await scene.lab.exec("client1", dial(`${server2}:5001`, `:${port}`), { input: "from inside" });
    expect(inside.status).toBe(0);
    expect(await outside.exited).toBe(0);
    expect(outside.stdout).toBe("from inside");
  });

  it("outlives a reset that does not fit its window", async () => {
    const holder = await hold(scene.lab, "client1", "tcp", 1);
    await holder.untilAnswered(1);
    const { mappedAddress, mappedPort } = await scene.flow({
      destinationPort: 7,
      protocol: "tcp",
      state: "established",
    });
    const before = await scene.drops("tcp-out-of-window");
    const forged = ["-c", "3", "-i", "u1000", "-q", "-R", "-s", "7", "-k", "-p", String(mappedPort), "-a", server];
    const forge = (sequence: string) =>
      scene.lab.exec("server", ["hping3", ...forged, "-M", sequence, mappedAddress], { mayFail: true });
    await Promise.all(["1", "2000000000", "4000000000"].map(forge));
    await until("the resets are dropped", async () => (await scene.drops("tcp-out-of-window")) >= before + 6);
    holder.send();
    await holder.untilAnswered(1);
    expect(holder.closed).toEqual([]);
    await holder.stop();
  });

  it("of which either side has closed its half carries the other's long after", async () => {
    await Promise.all([halfClosed(scene, "5002", "client1"), halfClosed(scene, "5003", "server")]);
  });
});

/** A connection of which `closes` ends its half at once, while the other waits and sends then. */
async function halfClosed({ lab }: Scene, port: string, closes: "client1" | "server"): Promise<void> {
  const close = ["close"];
  const send = ["send", String(pauseMs), String(bytes)];
  const [inside, outside] = closes === "client1" ? [close, send] : [send, close];
  const listener = await startProgram(lab, "server", "half-close", "listen", port, ...outside);
  const caller = await lab.exec("client1", program("half-close", "connect", `${server}:${port}`, ...inside));
  expect(await listener.exited).toBe(0);
  expect((closes === "client1" ? caller : listener).stdout).toContain(sha256OfPseudoRandom(bytes));
}

/** socat between standard input and a connection to and from these endpoints; it waits for the other's end. */
function dial(to: string, from: string): string[] {
  return ["socat", "-t", "10", "-", `TCP:${to},bind=${from},reuseaddr`];
}

/** The outside endpoint that a port of client1's has, and keeps, by a connection to somewhere else. */
async function mappingOf(scene: Scene, port: number): Promise<{ mappedAddress: string; mappedPort: number }> {
  scene.lab.spawn("client1", ["socat", "-u", `TCP:${server}:9,bind=:${port},reuseaddr`, "STDOUT"]);
  return scene.flow({ source: client1, sourcePort: port, state: "established" });
}

/** While `during` runs the providers swallow what the inside says first, so that the other end hears of it only by the answer to its own SYN. */
async function withoutFirstSyn(scene: Scene, during: () => Promise<void>): Promise<void> {
  const { lab } = scene;
  for (const isp of lab.isps) {
    const rule = `ip saddr ${uplinkAddress[isp]} tcp dport 5000 tcp flags & (syn | ack) == syn drop`;
    await lab.exec(isp, ["nft", `table ip syns { chain forward { type filter hook forward priority 0; ${rule}; }; }`]);
  }
  await during();
  for (const isp of lab.isps) await lab.exec(isp, ["nft", "delete table ip syns"]);
}
