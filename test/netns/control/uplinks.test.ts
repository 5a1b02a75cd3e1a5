/** How the uplinks' state follows a real router's interfaces (scripts/lab draws the topology). */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Lab, openLab } from "../../support/lab.ts";
import { plainUplink } from "../../support/plain-uplink.ts";
import { runCommand } from "../../support/process.ts";
import { Control, controlConfig, type UplinksEvent, until } from "./control.ts";

let lab: Lab;
let control: Control;

async function ip(host: "router" | "isp1" | "isp2", words: string): Promise<string> {
  return (await lab.exec(host, ["ip", ...words.split(" ")])).stdout;
}

async function macOf(host: "router" | "isp1" | "isp2", device: string): Promise<string> {
  return JSON.parse(await ip(host, `-json link show dev ${device}`))[0].address;
}

beforeAll(async () => {
  lab = await openLab({ name: "uplinks" });
});
afterAll(() => lab.close());

describe("the uplinks' watch", () => {
  beforeAll(async () => {
    control = await Control.start(lab, controlConfig(), ["watch"]);
  });
  afterAll(async () => {
    await control.stop();
  });

  it("reports address, gateway learnt from the default route, and the gateway's MAC address, ready to send", async () => {
    const gatewayMac = await macOf("isp2", "subscriber");
    const macAddress = await macOf("router", "wan1");
    expect(control.uplink("isp2")).toMatchObject({
      present: true,
      address: "198.51.100.2",
      prefixLength: 24,
      network: "198.51.100.0/24",
      gateway: "198.51.100.1",
      mtu: 1500,
      linkHeaderBytes: 14,
      macAddress,
      gatewayMac,
      state: "up",
      reason: "",
    });
    const row = (control.events("uplinks").at(-1) as UplinksEvent).rows[1]!;
    // ready, address and MTU in the machine's order, an unused word, then the header as it goes out.
    const header = `${gatewayMac}${macAddress}`.replaceAll(":", "");
    expect(row.slice(0, 60)).toBe(`01000000026433c6dc05000000000000${header}0800`);
  });

  it("has the kernel keep the gateway fresh, and again after somebody flushed its table", async () => {
    const managed = async () => (await ip("router", "neigh show 203.0.113.1")).includes("managed");
    expect(await managed()).toBe(true);
    const reports = control.events("uplinks").length;
    await ip("router", "neigh flush dev wan0");
    await until(managed, () => "the entry to be managed again");
    const states = control.events("uplinks").slice(reports) as UplinksEvent[];
    expect(states.map(({ uplinks }) => uplinks[0]!.state)).not.toContain("down");
  });

  it("follows a gateway that gets another MAC address", async () => {
    const former = await macOf("isp1", "subscriber");
    await ip("isp1", "link set subscriber address 02:00:5e:00:53:01");
    await ip("isp1", "neigh flush dev subscriber");
    await lab.exec("isp1", ["ping", "-c", "1", "-W", "2", "203.0.113.2"], { mayFail: true });
    await control.untilUplink("isp1", { gatewayMac: "02:00:5e:00:53:01", state: "up" });
    await ip("isp1", `link set subscriber address ${former}`);
    await lab.exec("isp1", ["ping", "-c", "1", "-W", "2", "203.0.113.2"], { mayFail: true });
    await control.untilUplink("isp1", { gatewayMac: former });
  });

  it("is down without carrier and up with it", async () => {
    await lab.carrier("isp2", "off");
    await control.untilUplink("isp2", { state: "down", reason: "no carrier" });
    expect((control.events("uplinks").at(-1) as UplinksEvent).rows[1]!.slice(0, 8)).toBe("00000000");
    await lab.carrier("isp2", "on");
    await control.untilUplink("isp2", { state: "up", reason: "" });
  });

  it("is down when switched off, and comes back with the gateway it had although its default route is gone", async () => {
    await ip("router", "link set wan1 down");
    await control.untilUplink("isp2", { state: "down", reason: "administratively down" });
    await ip("router", "link set wan1 up");
    await control.untilUplink("isp2", { state: "up", gateway: "198.51.100.1" });
    expect(await ip("router", "route show default dev wan1")).toBe("");
    await ip("router", "route add default via 198.51.100.1 dev wan1 metric 200");
  });

  it("is down without an address, and follows a new one", async () => {
    await ip("router", "address del 198.51.100.2/24 dev wan1");
    await control.untilUplink("isp2", { state: "down", reason: "no address", address: null });
    await ip("router", "address add 198.51.100.7/24 dev wan1");
    await control.untilUplink("isp2", { state: "down", reason: "no gateway", address: "198.51.100.7" });
    await ip("router", "route add default via 198.51.100.1 dev wan1 metric 200");
    await control.untilUplink("isp2", { state: "up" });
    await ip("router", "address del 198.51.100.7/24 dev wan1");
    await ip("router", "address add 198.51.100.2/24 dev wan1");
    await ip("router", "route add default via 198.51.100.1 dev wan1 metric 200");
    await control.untilUplink("isp2", { state: "up", address: "198.51.100.2" });
  });

  it("follows the MTU, and a rename there and back", async () => {
    await ip("router", "link set wan1 mtu 1400");
    await control.untilUplink("isp2", { mtu: 1400 });
    await ip("router", "link set wan1 mtu 1500");
    await ip("router", "link set wan1 down");
    await ip("router", "link set wan1 name other1");
    await ip("router", "link set other1 up");
    await ip("router", "route add default via 198.51.100.1 dev other1 metric 200");
    await control.untilUplink("isp2", { interface: "other1", state: "up", mtu: 1500 });
    await ip("router", "link set other1 down");
    await ip("router", "link set other1 name wan1");
    await ip("router", "link set wan1 up");
    await ip("router", "route add default via 198.51.100.1 dev wan1 metric 200");
    await control.untilUplink("isp2", { interface: "wan1", state: "up" });
  });

  it("is down when the gateway stops answering ARP, and up when it answers again", async () => {
    await ip("isp1", "link set subscriber arp off");
    // The kernel asks when the entry has aged, up to half a minute; a flush has it ask at once.
    await ip("router", "neigh flush dev wan0");
    await control.untilUplink("isp1", { state: "down", reason: "gateway does not answer ARP", gatewayMac: null });
    await ip("isp1", "link set subscriber arp on");
    await control.untilUplink("isp1", { state: "up" });
    expect(control.uplink("isp2").state).toBe("up");
  });

  it("goes on after the monitor ended, and says so", async () => {
    const { pid } = control.process;
    const monitor = async () => {
      const { stdout } = await lab.exec("router", ["ps", "-o", "pid=,args=", "--ppid", String(pid)], { mayFail: true });
      return /^\s*(\d+) .*monitor/m.exec(stdout)?.[1];
    };
    const first = (await monitor())!;
    const before = control.events("problem").length;
    await lab.exec("router", ["kill", first]);
    await until(
      async () => ![undefined, first].includes(await monitor()),
      () => "another monitor",
    );
    expect(control.events("problem").slice(before)).toEqual([
      expect.stringMatching(/ip monitor ended \(SIGTERM\); starts again/),
    ]);
    await lab.carrier("isp2", "off");
    await control.untilUplink("isp2", { reason: "no carrier" });
    await lab.carrier("isp2", "on");
    await control.untilUplink("isp2", { state: "up" });
  });

  it("read no state that it could not", () => {
    expect(control.events("error")).toEqual([]);
  });
});

describe("a start of the watch", () => {
  it("does not wait for ever for an uplink that is down, and names a configured address that is not there", async () => {
    await lab.carrier("isp2", "off");
    const uplinks = [
      { name: "isp1", interface: "wan0", address: "203.0.113.50", ...plainUplink },
      { name: "isp2", interface: "wan1", ...plainUplink },
      { name: "isp3", interface: "wan7", ...plainUplink },
      { name: "isp4", interface: "wan0", gateway: "203.0.113.99", ...plainUplink },
    ];
    const started = await Control.start(lab, controlConfig({ uplinks }));
    expect(started.uplink("isp1").reason).toBe("address 203.0.113.50 is not on wan0");
    expect(started.uplink("isp2").reason).toBe("no carrier");
    expect(started.uplink("isp3").reason).toBe("interface missing");
    expect(started.uplink("isp4").reason).toBe("gateway does not answer ARP");
    await started.stop();
    await lab.carrier("isp2", "on");
  });

  it("leaves the administrator's permanent entry alone, and uses it", async () => {
    await ip("router", "neigh replace 203.0.113.1 dev wan0 lladdr 02:00:5e:00:53:77 nud permanent");
    const started = await Control.start(lab, controlConfig(), ["watch"]);
    expect(started.uplink("isp1")).toMatchObject({ gatewayMac: "02:00:5e:00:53:77", state: "up" });
    await started.stop();
    expect(await ip("router", "neigh show 203.0.113.1")).toContain("PERMANENT");
    await ip("router", "neigh del 203.0.113.1 dev wan0");
  });

  it("needs no gateway on a point-to-point link", async () => {
    await ip("router", "tuntap add dev ppp7 mode tun");
    await ip("router", "address add 192.0.2.201 peer 192.0.2.202/32 dev ppp7");
    await ip("router", "link set ppp7 up");
    const uplinks = [{ name: "isp1", interface: "ppp7", ...plainUplink }];
    const started = await Control.start(lab, controlConfig({ uplinks }));
    // Nobody holds the TUN open, so it has no carrier; everything else is there.
    const expected = {
      linkHeaderBytes: 0,
      gateway: null,
      address: "192.0.2.201",
      network: "192.0.2.202/32",
      macAddress: null,
    };
    expect(started.uplink("isp1")).toMatchObject({ ...expected, reason: "no carrier" });
    const holder = lab.spawn("router", ["socat", "-u", "PIPE", "TUN,tun-name=ppp7,tun-type=tun,iff-no-pi"]);
    await started.untilUplink("isp1", { state: "up" });
    await until(
      async () => / dev ppp7 /.test(await ip("router", "route get 192.0.2.10 from 192.0.2.201")),
      () => "the point-to-point uplink's own route",
    );
    await holder.stop();
    await started.stop();
    await ip("router", "link del ppp7");
  });

  it("leaves no process behind when it is killed", async () => {
    const started = await Control.start(lab);
    await started.kill();
    await until(
      async () => (await runCommand(["ip", "netns", "pids", lab.namespace("router")])).stdout.trim() === "",
      () => "the children to end",
    );
  });
});
