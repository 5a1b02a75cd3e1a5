/**
 * ICMP errors about translated packets, in the lab's topology (scripts/lab): each must reach the socket whose
 * packet it is about, which the kernel finds by the packet that the error quotes. From outside it must be put
 * back, from inside it must be translated; the router's own errors count as from inside.
 */

import { expect, it } from "vitest";
import { parseAddress } from "../../../src/wire/ipv4.ts";
import { describeForwarding } from "../../support/forwarding.ts";
import { client1, type Lab, routerLan, server, uplinkAddress } from "../../support/lab.ts";
import { startProgram } from "../../support/programs.ts";
import { icmpError, ipv4, UDP, udp } from "../../support/raw-packet.ts";
import { until } from "../../support/until.ts";

const unroutable = "192.0.2.50";

describeForwarding("an ICMP error", { lab: { name: "errors" }, prepare: makeUnroutable }, (scene) => {
  const sendUdp = (options: string) =>
    scene.lab.exec("client1", ["socat", "-t", "5", "-", `UDP:${server}:9${options}`], { input: "x", mayFail: true });

  it("of a closed port refuses the client's socket", async () => {
    for (let i = 0; i < 8; i++) expect((await sendUdp("")).stderr).toMatch(/Connection refused/);
  });

  it("of a provider that the packet's time ran out at reaches the client's ping", async () => {
    const { stdout } = await scene.lab.exec("client1", ["ping", "-c", "1", "-t", "2", "-W", "5", server], {
      mayFail: true,
    });
    expect(stdout).toMatch(/From (203\.0\.113\.1|198\.51\.100\.1) icmp_seq=1 Time to live exceeded/);
  });

  it("of the router that the packet's time ran out at names the router", async () => {
    const { stdout } = await scene.lab.exec("client1", ["ping", "-c", "1", "-t", "1", "-W", "5", server], {
      mayFail: true,
    });
    expect(stdout).toContain(`From ${routerLan} icmp_seq=1 Time to live exceeded`);
  });

  it("of a provider that has no route ends the client's connection at once", async () => {
    const { stderr } = await scene.lab.exec("client1", ["socat", "-", `TCP:${unroutable}:80`], { mayFail: true });
    expect(stderr).toMatch(/No route to host/);
  });

  it("of a LAN host about a late answer refuses the server's socket, from the flow's own address", async () => {
    const answerer = await startProgram(scene.lab, "server", "late-answer", "5300", "300");
    await scene.lab.exec("client1", ["socat", "-u", "-", `UDP:${server}:5300`], { input: "x" });
    await answerer.waitFor(/refused|E[A-Z]+/);
    const { mappedAddress, mappedPort } = await scene.flow({ source: client1, destinationPort: 5300 });
    expect(answerer.stdout).toContain(`refused ${mappedAddress} ${mappedPort}`);
  });

  it("that quotes what was never sent is dropped", async () => {
    const before = await scene.drops("icmp-error-no-flow");
    for (const isp of scene.lab.isps) {
      const destination = uplinkAddress[isp];
      const quoted = ipv4({
        source: parseAddress(destination)!,
        destination: parseAddress(server)!,
        protocol: UDP,
        payload: udp(20_000, 9),
      });
      const octets = Array.from(icmpError(3, quoted), (octet) => `\\x${octet.toString(16).padStart(2, "0")}`).join("");
      await scene.lab.exec("server", ["bash", "-c", `printf '${octets}' | socat -u - IP4-SENDTO:${destination}:1`]);
    }
    await until("both drops", async () => (await scene.drops("icmp-error-no-flow")) === before + 2);
  });
});

async function makeUnroutable(lab: Lab): Promise<void> {
  const rule = `ip daddr ${unroutable} reject with icmp type host-unreachable`;
  const table = `table ip unroutable { chain forward { type filter hook forward priority 0; ${rule}; }; }`;
  for (const isp of lab.isps) await lab.exec(isp, ["nft", table]);
}
