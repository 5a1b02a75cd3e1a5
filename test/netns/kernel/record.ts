/**
 * Records captures/tools.pcap: what common tools send and get through the kernel's own translator, as the client sees it.
 * Run by hand, as root: `node test/netns/kernel/record.ts`. Segments are those of the wire (no offloads), so that each is a packet.
 */

import { fileURLToPath } from "node:url";
import { gatewayAddress, type Lab, openLab, server, server2 } from "../../support/lab.ts";
import { startProgram } from "../../support/programs.ts";

const file = fileURLToPath(new URL("captures/tools.pcap", import.meta.url));

/** Run one after the other on client1; what fails (a refused connection) is traffic as well. */
const commands = [
  `ping -c 2 ${server}`,
  `ping -c 1 -s 3000 ${server}`,
  `ping -c 1 -s 1472 -M do ${server2}`,
  `ping -c 1 -t 2 ${server}`,
  `dig @${server} small.example +tries=1`,
  `dig @${server} small.example +tcp +tries=1`,
  `dig @${server} large.example TXT +bufsize=4096 +ignore +tries=1`,
  `dig @${server2} -p 54 small.example +tries=1 +timeout=1`,
  `curl -s -m 5 http://${server}/via/203.0.113.2/16000`,
  `curl -s -m 5 http://${server2}/address http://${server2}/address`,
  `curl -s -m 2 http://${server}:81/`,
  `iperf3 -c ${server} -l 2K -n 16K`,
  `iperf3 -c ${server} -u -b 2M -n 6K -l 1200`,
  `iperf3 -c ${server} -R -l 2K -n 16K`,
  `traceroute -n -q 1 -m 5 ${server}`,
  `traceroute -n -q 1 -m 5 -I ${server}`,
  `traceroute -n -q 1 -m 5 -T ${server}`,
  `tracepath -n -m 5 ${server}`,
  `hping3 -c 2 -i u10000 -S -p 80 ${server}`,
  `hping3 -c 2 -i u10000 -S -p 81 ${server}`,
  `hping3 -c 1 -A -p 80 ${server}`,
  `hping3 -c 1 -F -p 80 ${server}`,
  `hping3 -c 1 -F -S -p 80 ${server}`,
  `hping3 -c 1 -F -P -U -p 80 ${server}`,
  `hping3 -c 1 -Y -p 80 ${server}`,
  `hping3 -c 1 -2 -p 54 ${server}`,
  `hping3 -c 1 -2 -f -d 64 -p 53 ${server}`,
  `hping3 -c 1 -1 --icmp-ts ${server}`,
  `hping3 -c 1 -1 --icmp-addr ${server}`,
  `hping3 -c 1 -0 -H 47 -d 20 ${server}`,
  `nmap -n -Pn -sS -p 53,80,81,5201 --max-retries 0 ${server}`,
  `nmap -n -Pn -sN -p 80,81 --max-retries 0 ${server}`,
  `nmap -n -Pn -sX -p 80,81 --max-retries 0 ${server}`,
  `nmap -n -Pn -sA -p 80,81 --max-retries 0 ${server}`,
  `nmap -n -Pn -sU -p 53,54 --max-retries 0 ${server}`,
  `nmap -n -Pn -O -p 80,81 --max-retries 0 --max-os-tries 1 ${server}`,
];

const lab = await openLab({ name: "record", masquerade: true });
try {
  await lab.offload("off");
  await startServers(lab);
  const filter = `ip and (net 192.0.2.0/26 or host ${gatewayAddress.isp1})`;
  const tcpdump = lab.spawn("client1", ["tcpdump", "-i", "lan", "-s", "0", "-U", "-Z", "root", "-w", file, filter]);
  await tcpdump.waitFor(/listening on/);
  for (const command of commands) {
    const { status } = await lab.exec("client1", command.split(" "), { mayFail: true });
    console.log(`${status} ${command}`);
  }
  await tcpdump.stop("SIGINT");
  console.log(tcpdump.stderr);
} finally {
  await lab.close();
}

async function startServers(lab: Lab): Promise<void> {
  await startProgram(lab, "server", "web-server", "80");
  lab.spawn("server", ["iperf3", "-s"]);
  const strings = Array.from({ length: 11 }, (_, i) => String.fromCharCode(97 + i).repeat(240)).join(",");
  const dnsmasq = lab.spawn("server", [
    ...["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file="],
    ...["--user=root", "--log-facility=-", "--edns-packet-max=4096", `--txt-record=large.example,${strings}`],
    "--address=/small.example/192.0.2.20",
  ]);
  await dnsmasq.waitFor(/started/);
}
