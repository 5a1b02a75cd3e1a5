import { describe, expect, it } from "vitest";
import { echoRequest, readEcho } from "../../../../src/control/probes/echo-packet.ts";
import { sumBytes } from "../../../../src/wire/checksum.ts";

const cookie = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]);
const identifier = 0xabcd;
/** 203.0.113.1 to 203.0.113.2, protocol ICMP; nobody looks at its length and checksum here. */
const header = "4500002400000000400100 00cb007101cb007102".replaceAll(" ", "");
const quoted = "45000024000000003f0100 00cb007102c000020a".replaceAll(" ", "");
/** 2001:db8:1::2 to 2001:db8:ff::10, next header ICMPv6. */
const quoted6 = `60000000 0010 3a 40 20010db8000100000000000000000002 20010db800ff00000000000000000010`.replaceAll(
  " ",
  "",
);

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const hex = (packet: Uint8Array) => Buffer.from(packet).toString("hex");

describe("an echo request", () => {
  it("of IPv4 has type 8, identifier, sequence, the cookie, and a right checksum", () => {
    const packet = echoRequest(false, identifier, 0x1234, cookie);
    expect(hex(packet)).toMatch(/^0800....abcd12340102030405060708$/);
    expect(sumBytes(new DataView(packet.buffer), 0, packet.length)).toBe(0xffff);
  });

  it("of IPv6 has type 128, and leaves the checksum to the kernel", () => {
    expect(hex(echoRequest(true, identifier, 0x1234, cookie))).toBe("80000000abcd12340102030405060708");
  });
});

describe("what comes back", () => {
  it("is a reply with its sequence and cookie", () => {
    const reply = { kind: "reply", sequence: 0x1234, cookie };
    expect(readEcho(false, identifier, bytes(`${header} 00000000abcd12340102030405060708`))).toEqual(reply);
    expect(readEcho(true, identifier, bytes("81000000abcd12340102030405060708"))).toEqual(reply);
  });

  it("is found behind IP options", () => {
    const long = bytes(`46${header.slice(2)} 01010101 00000000abcd12340102030405060708`);
    expect(readEcho(false, identifier, long)).toMatchObject({ sequence: 0x1234 });
  });

  it.each([
    [false, `${header} 0301 0000 00000000 ${quoted} 08000000abcd1234`, "host unreachable"],
    [false, `${header} 030d 0000 00000000 ${quoted} 08000000abcd1234`, "prohibited"],
    [false, `${header} 0b00 0000 00000000 ${quoted} 08000000abcd1234`, "time to live exceeded"],
    [true, `0100 0000 00000000 ${quoted6} 80000000abcd1234`, "no route"],
    [true, `0103 0000 00000000 ${quoted6} 80000000abcd1234`, "host unreachable"],
    [true, `0300 0000 00000000 ${quoted6} 80000000abcd1234`, "time to live exceeded"],
  ])("is an error in words when a question of ours is quoted (IPv6: %s, %s)", (isIpv6, packet, words) => {
    expect(readEcho(isIpv6, identifier, bytes(packet))).toEqual({ kind: "error", sequence: 0x1234, words });
  });

  it.each([
    [false, `${header} 00000000abce12340102030405060708`, "another's reply"],
    [false, `${header} 08000000abcd12340102030405060708`, "a request"],
    [false, `${header} 00000000abcd123401020304050607`, "a reply whose cookie is cut short"],
    [false, `${header} 0301 0000 00000000 ${quoted} 08000000abce1234`, "an error about another's question"],
    [false, `${header} 0301 0000 00000000 ${quoted} 00000000abcd1234`, "an error about a reply"],
    [false, `${header} 0301 0000 00000000 ${quoted.replace("3f01", "3f11")} 08000000abcd1234`, "an error about UDP"],
    [false, `${header} 0500 0000 00000000 ${quoted} 08000000abcd1234`, "a redirect"],
    [true, "81000000abce12340102030405060708", "another's reply of IPv6"],
    [true, `0200 0000 00000500 ${quoted6} 80000000abcd1234`, "a packet too big"],
    [true, `0100 0000 00000000 ${quoted6.replace("3a40", "1140")} 80000000abcd1234`, "an error about UDP over IPv6"],
  ])("is nothing else (IPv6: %s, %s: %s)", (isIpv6, packet) => {
    expect(readEcho(isIpv6, identifier, bytes(packet))).toBeNull();
  });

  it("is nothing when it is cut off anywhere", () => {
    const whole = bytes(`${header} 0301 0000 00000000 ${quoted} 08000000abcd1234`);
    const whole6 = bytes(`0100 0000 00000000 ${quoted6} 80000000abcd1234`);
    for (let length = 0; length < whole.length; length++)
      expect(readEcho(false, identifier, whole.subarray(0, length))).toBeNull();
    for (let length = 0; length < whole6.length; length++)
      expect(readEcho(true, identifier, whole6.subarray(0, length))).toBeNull();
  });
});
