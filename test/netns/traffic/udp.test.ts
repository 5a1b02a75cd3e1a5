/**
 * UDP through the router, in the lab's topology (scripts/lab): small and large datagrams, and DNS with an
 * answer of 2.7 kB, which comes in two fragments of which only the first has ports.
 */

import { expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import { iperf, startIperf } from "../../support/iperf.ts";
import { type Lab, server } from "../../support/lab.ts";

/** At these rates nothing is lost, unless the machine is busy elsewhere: then iperf3's own sockets overflow. */
const mostLost = 0.5;

describeForwarding("UDP", { lab: { name: "udp" }, prepare }, (scene) => {
  it.each([
    ["64 bytes to the server", ["-l", "64", "-b", "4M", "-k", "2000"]],
    ["64 bytes from the server", ["-l", "64", "-b", "4M", "-k", "2000", "-R"]],
    ["1,472 bytes, an MTU full, to the server", ["-l", "1472", "-b", "50M", "-k", "1000"]],
    ["1,472 bytes, an MTU full, from the server", ["-l", "1472", "-b", "50M", "-k", "1000", "-R"]],
    ["8,000 bytes, in six fragments, to the server", ["-l", "8000", "-b", "50M", "-k", "200"]],
    ["8,000 bytes, in six fragments, from the server", ["-l", "8000", "-b", "50M", "-k", "200", "-R"]],
    ["60,000 bytes, in 41 fragments, to the server", ["-l", "60000", "-b", "100M", "-k", "50"]],
    ["60,000 bytes, in 41 fragments, from the server", ["-l", "60000", "-b", "100M", "-k", "50", "-R"]],
    ["8,000 bytes in four streams both ways", ["-l", "8000", "-b", "10M", "-k", "200", "-P", "4", "--bidir"]],
  ])("carries datagrams of %s", async (_, options) => {
    const sum = await iperf(scene.lab, "client1", 5201, "-u", ...options);
    expect(sum.packets).toBeGreaterThan(20);
    expect(sum.lost_packets! / sum.packets!).toBeLessThan(mostLost);
  });

  it("carries datagrams of two hosts at once", async () => {
    const options = ["-u", "-k", "400", "-l", "3000", "-b", "40M"];
    const sums = await Promise.all([
      iperf(scene.lab, "client1", 5201, ...options),
      iperf(scene.lab, "client2", 5202, ...options, "-R"),
    ]);
    for (const sum of sums) expect(sum.lost_packets! / sum.packets!).toBeLessThan(mostLost);
  });

  const question = ["+tries=1", "+time=5", `@${server}`, "large.example.test", "TXT"];

  it("brings a DNS answer of 2.7 kB in fragments", async () => {
    const { stdout } = await scene.lab.exec("client1", ["dig", "+bufsize=4096", "+notcp", "+ignore", ...question]);
    expect(stdout).toMatch(/flags:(?! tc)[^;]*; QUERY: 1, ANSWER: 1/);
    expect(Number(/MSG SIZE +rcvd: (\d+)/.exec(stdout)![1])).toBeGreaterThan(2700);
    expect(stdout).toMatch(/\(UDP\)/);
  });

  it("brings it by TCP to a client that takes no large datagrams", async () => {
    const { stdout } = await scene.lab.exec("client1", ["dig", "+bufsize=512", ...question]);
    expect(stdout).toMatch(/Truncated, retrying in TCP mode/);
    expect(stdout).toMatch(/MSG SIZE +rcvd: 27\d\d/);
    expect(stdout).toMatch(/\(TCP\)/);
  });

  it("brings many such answers to two hosts at once", async () => {
    const questions = ["client1", "client2"].flatMap((host) =>
      Array<"client1" | "client2">(10).fill(host as "client1"),
    );
    const answers = await Promise.all(
      questions.map((host) =>
        scene.lab.exec(host, ["dig", "+short", "+bufsize=4096", "+notcp", "+ignore", ...question]),
      ),
    );
    for (const { stdout } of answers) expect(stdout).toBe(answers[0]!.stdout);
    expect(answers[0]!.stdout.length).toBeGreaterThan(2600);
  });
});

/** iperf3, and a name server whose one answer does not fit a packet. */
async function prepare(lab: Lab): Promise<void> {
  await startIperf(lab, [5201, 5202]);
  const strings = Array.from({ length: 11 }, (_, i) => String.fromCharCode(97 + i).repeat(240)).join(",");
  const dnsmasq = lab.spawn("server", [
    ...["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file="],
    ...["--user=root", "--log-facility=-", "--edns-packet-max=4096", `--txt-record=large.example.test,${strings}`],
  ]);
  await dnsmasq.waitFor(/started/);
}
