import { describe, expect, it } from "vitest";
import {
  arpRequest,
  neighbourSolicitation,
  readAdvertisement,
  readArp,
  solicitedNode,
} from "../../../../src/control/probes/neighbour-packet.ts";

const mac = Uint8Array.from([2, 0, 0, 0, 0, 1]);
const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const hex = (packet: Uint8Array) => Buffer.from(packet).toString("hex");

describe("ARP", () => {
  it("asks who has the target, and says who asks", () => {
    expect(hex(arpRequest(mac, "203.0.113.2", "203.0.113.1"))).toBe(
      "0001 0800 06 04 0001 020000000001 cb007102 000000000000 cb007101".replaceAll(" ", ""),
    );
  });

  it("is answered by a reply, not by somebody's question and not by less than a packet", () => {
    const reply = "0001 0800 06 04 0002 02000000000f cb007101 020000000001 cb007102";
    expect(readArp(bytes(reply))).toEqual({ from: "203.0.113.1", to: "203.0.113.2" });
    expect(readArp(bytes(reply.replace("0002", "0001")))).toBeNull();
    expect(readArp(bytes(reply).subarray(0, 27))).toBeNull();
  });
});

describe("neighbour discovery", () => {
  const advertisement = "8800 0000 e0000000 fe800000000000000000000000000001 0201 02000000000f";

  it("asks the group of those whose address ends alike", () => {
    expect(solicitedNode("2001:db8::1:23ab:cdef")).toBe("ff02::1:ffab:cdef");
    expect(hex(neighbourSolicitation(mac, "fe80::1"))).toBe(
      "8700 0000 00000000 fe800000000000000000000000000001 0101 020000000001".replaceAll(" ", ""),
    );
  });

  it("is answered by an advertisement that was asked for, from the link", () => {
    expect(readAdvertisement(bytes(advertisement), 255)).toBe("fe80::1");
    expect(readAdvertisement(bytes(advertisement), 254), "it was forwarded").toBeNull();
    expect(readAdvertisement(bytes(advertisement.replace("e0", "a0")), 255), "nobody asked").toBeNull();
    expect(readAdvertisement(bytes(advertisement.replace("8800", "8700")), 255), "a question").toBeNull();
    expect(readAdvertisement(bytes(advertisement).subarray(0, 23), 255), "cut short").toBeNull();
  });
});
