/** An IPv6 gateway of its own for each uplink: followed when its MAC address changes, missed when it falls silent. IPv4 goes on meanwhile. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { type Lab, openLab } from "../../support/lab.ts";
import { Control, until } from "../control/control.ts";

let lab: Lab;
let control: Control;

beforeAll(async () => {
  lab = await openLab({ name: "gateway6", ipv6: true });
  control = await Control.start(lab);
});
afterAll(async () => {
  await control?.stop();
  await lab.close();
});

const provider = (words: string) => lab.exec("isp1", ["ip", ...words.split(" ")]);

it("is learnt from the interface's own default route, with its MAC address", async () => {
  await untilIpv6("isp1", { state: "up", gateway: "fe80::1" });
  expect(control.uplink("isp1").ipv6).toMatchObject({ address: "2001:db8:1::2", gatewayMac: await macOfProvider() });
  expect(control.uplink("isp2").ipv6.gateway).toBe("fe80::1");
});

it("is down when it answers no neighbour solicitations, while IPv4 stays up, and up again when it does", async () => {
  await provider("address del fe80::1/64 dev subscriber");
  await lab.exec("router", ["ip", "neigh", "flush", "fe80::1", "dev", "wan0"]);
  await untilIpv6("isp1", { state: "down", reason: "gateway does not answer neighbour solicitations" });
  expect(control.uplink("isp1").state).toBe("up");
  expect(control.uplink("isp2").ipv6.state).toBe("up");
  await provider("address add fe80::1/64 dev subscriber nodad");
  await untilIpv6("isp1", { state: "up", reason: "" });
});

it("is followed to another MAC address", async () => {
  await provider("link set subscriber address 02:00:5e:00:53:61");
  await lab.exec("router", ["ip", "neigh", "flush", "fe80::1", "dev", "wan0"]);
  await untilIpv6("isp1", { state: "up", gatewayMac: "02:00:5e:00:53:61" });
});

it("is followed to another address", async () => {
  await provider("address add fe80::7/64 dev subscriber nodad");
  await lab.exec("router", [
    "ip",
    "-6",
    "route",
    "replace",
    "default",
    "via",
    "fe80::7",
    "dev",
    "wan0",
    "metric",
    "100",
  ]);
  await lab.exec("router", ["ip", "-6", "route", "del", "default", "via", "fe80::1", "dev", "wan0"], { mayFail: true });
  await untilIpv6("isp1", { state: "up", gateway: "fe80::7" });
  const { stdout } = await lab.exec("router", [
    "ip",
    "-6",
    "route",
    "show",
    "table",
    String(control.slot.firstTable + 1),
  ]);
  expect(stdout).toMatch(/^default via fe80::7 dev wan0/m);
});

async function macOfProvider(): Promise<string> {
  const { stdout } = await provider("-br link show subscriber");
  return /([0-9a-f:]{17})/.exec(stdout)![1]!;
}

async function untilIpv6(name: string, wanted: object): Promise<void> {
  await until(
    () => Object.entries(wanted).every(([key, value]) => control.uplink(name).ipv6[key as "state"] === value),
    () => `IPv6 of ${name} to become ${JSON.stringify(wanted)}; it is ${JSON.stringify(control.uplink(name).ipv6)}`,
  );
}
