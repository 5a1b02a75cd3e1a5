/** What a SYN offers, as it leaves on the other side (RFC 6691; the tests of tcp-mss.ts have the details). */
import { expect, test } from "vitest";
import { ACK, concat, finishPartial, parse, partialVnet, SYN, tcp, words } from "../support/packets.ts";
import { client, type Left, Rig, server, uplinkAddresses } from "./rig.ts";

const mss = (value: number) => concat(Uint8Array.of(2, 4), words(value));
const offered = (left: Left) => (left.payload[22]! << 8) | left.payload[23]!;

test("both ends are told of the flow's uplink, each uplink its own", () => {
  const rig = new Rig({ links: [14, 0] });
  rig.setUplink(0, { mtu: 1400 });
  rig.setUplink(1, { mtu: 1492 });
  for (const [uplink, expected] of [1360, 1452].entries()) {
    rig.steerTo(uplink);
    const source = `${client}:${5000 + uplink}`;
    const asked = rig.outOne(tcp({ source, destination: `${server}:80`, flags: SYN, tcpOptions: mss(1460) }), uplink);
    expect(asked.checksumOk && offered(asked)).toBe(expected);
    const answered = rig.inOne(
      tcp({
        source: `${server}:80`,
        destination: `${uplinkAddresses[uplink]}:${asked.sourcePort}`,
        flags: SYN | ACK,
        tcpOptions: mss(8960),
      }),
      uplink,
    );
    expect(answered.checksumOk && offered(answered)).toBe(expected);
  }
});

test("a SYN whose checksum the card would finish is clamped, and its checksum can still be finished", () => {
  const rig = new Rig({ mtu: 1280 });
  const fields = { source: `${client}:5000`, destination: `${server}:80`, flags: SYN, tcpOptions: mss(1460) };
  const packet = tcp({ ...fields, checksum: "partial" });
  const left = rig.outOne(packet, 0, partialVnet(packet));
  expect(offered(left)).toBe(1240);
  expect(parse(finishPartial(left.bytes)).checksumOk).toBe(true);
});

test("only a SYN offers anything: the same bytes in another segment are left alone", () => {
  const rig = new Rig({ mtu: 1280 });
  const fields = { source: `${client}:5000`, destination: `${server}:80`, tcpOptions: mss(1460) };
  rig.out(tcp({ ...fields, flags: SYN }));
  expect(offered(rig.outOne(tcp({ ...fields, sequence: 2, flags: ACK })))).toBe(1460);
});

test("a wrong checksum stays wrong", () => {
  const rig = new Rig({ mtu: 1280 });
  const fields = { source: `${client}:5000`, destination: `${server}:80`, tcpOptions: mss(1460) };
  expect(rig.outOne(tcp({ ...fields, flags: SYN, checksum: "wrong" })).checksumOk).toBe(false);
});
