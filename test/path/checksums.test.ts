/** Layer-4 checksums through the whole path: what was absent or wrong stays so, and UDP never sends a 0 that would mean "absent" (RFC 768). */
import { describe, expect, test } from "vitest";
import { ACK, pattern, SYN, tcp, UDP, udp, words } from "../support/packets.ts";
import { client, Rig, server, uplinkAddresses } from "./rig.ts";

const mapped = uplinkAddresses[0]!;
const inside = `${client}:5000`;
const remote = `${server}:53`;

describe("a checksum", () => {
  test("of UDP that is absent stays absent, both ways", () => {
    const rig = new Rig();
    const left = rig.outOne(udp({ source: inside, destination: remote, data: pattern(9), checksum: "none" }));
    expect(left.checksum).toBe(0);
    const outside = `${mapped}:${left.sourcePort}`;
    const answer = udp({ source: remote, destination: outside, data: pattern(9), checksum: "none" });
    expect(rig.inOne(answer)).toMatchObject({ destination: client, checksum: 0 });
  });

  test("of UDP is never 0 when it was there, whatever the sum comes to", () => {
    const rig = new Rig();
    // Every value of two bytes: for one of them the sum outside comes to 0.
    const questions = Array.from({ length: 0x1_0000 }, (_, value) =>
      udp({ source: inside, destination: remote, data: words(value) }),
    );
    const left = rig.out(questions);
    expect(left).toHaveLength(questions.length);
    const seen = new Set(left.map(({ checksum }) => checksum));
    expect(seen.has(0)).toBe(false);
    expect(seen.has(0xffff)).toBe(true);
    expect(left.filter(({ checksum }) => checksum === 0xffff).every(({ checksumOk }) => checksumOk)).toBe(true);
  });

  test("of TCP or UDP that was wrong stays wrong, both ways", () => {
    const rig = new Rig();
    const asked = rig.outOne(udp({ source: inside, destination: remote, data: pattern(9), checksum: "wrong" }));
    expect(asked).toMatchObject({ protocol: UDP, checksumOk: false });
    const answer = { source: remote, destination: `${mapped}:${asked.sourcePort}`, checksum: "wrong" } as const;
    expect(rig.inOne(udp(answer))).toMatchObject({ destinationPort: 5000, checksumOk: false });

    const opened = rig.outOne(tcp({ source: inside, destination: remote, flags: SYN, checksum: "wrong" }));
    expect(opened.checksumOk).toBe(false);
    const accepted = { ...answer, destination: `${mapped}:${opened.sourcePort}`, flags: SYN | ACK, acknowledgment: 2 };
    expect(rig.inOne(tcp(accepted))).toMatchObject({ destinationPort: 5000, checksumOk: false });
  });
});
