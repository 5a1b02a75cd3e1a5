/** IPv6 datagrams that do not fit a packet: the sender cuts them, and only the first piece has ports. */

import { expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import { iperfTo, startIperf } from "../../support/iperf.ts";
import { type Lab, server6 } from "../../support/lab.ts";

/** Datagrams of a busy machine. */
const mostLost = 0.5;

describeForwarding("IPv6 in fragments", { lab: { name: "ipv6-fragments", ipv6: true }, prepare }, (scene) => {
  it.each([2700, 9000])("carries an echo of %i bytes in fragments", async (bytes) => {
    const ping = ["ping", "-c", "3", "-i", "0.2", "-w", "10", "-s", String(bytes), server6];
    expect((await scene.lab.exec("client1", ping)).stdout).toContain("3 received");
  });

  it("brings a DNS answer of 2.7 kB in fragments, of which only the first has ports", async () => {
    const question = ["+tries=1", "+time=5", `@${server6}`, "large.example.test", "TXT"];
    const ask = ["dig", "+bufsize=4096", "+notcp", "+ignore", ...question];
    const answers = await Promise.all(Array.from({ length: 8 }, () => scene.lab.exec("client1", ask)));
    for (const { stdout } of answers) {
      expect(Number(/MSG SIZE +rcvd: (\d+)/.exec(stdout)![1])).toBeGreaterThan(2700);
      expect(stdout).toContain("(UDP)");
    }
  });

  it.each([
    ["to the server", []],
    ["from the server", ["-R"]],
  ])("carries datagrams of 8,000 bytes %s", async (_, options) => {
    const udp = ["-u", "-l", "8000", "-b", "50M", "-k", "200"];
    const sum = await iperfTo(scene.lab, "client1", server6, 5201, ...udp, ...options);
    expect(sum.packets).toBeGreaterThan(20);
    expect(sum.lost_packets! / sum.packets!).toBeLessThan(mostLost);
  });
});

/** Servers on the server: iperf3, and a name server whose one answer does not fit a packet. */
async function prepare(lab: Lab): Promise<void> {
  await startIperf(lab, [5201]);
  const strings = Array.from({ length: 11 }, (_, i) => String.fromCharCode(97 + i).repeat(240)).join(",");
  const dnsmasq = lab.spawn("server", [
    ...["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file="],
    ...["--user=root", "--log-facility=-", "--edns-packet-max=4096", `--txt-record=large.example.test,${strings}`],
  ]);
  await dnsmasq.waitFor(/started/);
}
