/**
 * Where the kernel's masquerade (with invalid packets dropped) and sluice decide differently about a packet, and why. The
 * first entry that fits counts; a difference that none fits fails the test, and so does an entry that fits none.
 */

import { ICMP, RST, TCP } from "../../support/packets.ts";
import type { Scene } from "./scenario.ts";

export interface Allowed {
  readonly reason: string;
  /** What the kernel does; sluice does the other. */
  readonly kernel: "passes" | "drops";
  readonly fits: (scene: Scene) => boolean;
}

export const allowList: readonly Allowed[] = [
  {
    reason:
      "The kernel picks TCP connections up in the middle (nf_conntrack_tcp_loose), and their answers and errors with them. Behind a translator they would come from a port that the remote has never seen: only a SYN opens a flow.",
    kernel: "passes",
    fits: ({ protocol, isOpened }) => protocol === "TCP" && !isOpened,
  },
  {
    reason: "ICMP address mask requests are deprecated (RFC 6918), like all queries but echo and timestamp.",
    kernel: "passes",
    fits: (scene) => icmpType(scene) === 17,
  },
  {
    reason: "Port 0 is nobody's (RFC 6335, section 6).",
    kernel: "passes",
    fits: ({ what }) => what === "TCP port 0" || what === "UDP port 0",
  },
  {
    reason: "Class E is no host's address (RFC 1122, section 3.2.1.3). The kernel has let it through since 2.6.25.",
    kernel: "passes",
    fits: ({ what }) => what === "source of class E",
  },
  {
    reason: "LAND: a packet from its own destination. The kernel knows it for its own addresses only.",
    kernel: "passes",
    fits: ({ what }) => what === "source of the destination (LAND)",
  },
  {
    reason:
      "A source that no network inside has is dropped by name, where the kernel's reverse-path check has not done so before. Without sluice a loose check lets it through.",
    kernel: "passes",
    fits: ({ what }) => what === "source of no LAN",
  },
  {
    reason: "Source quench is deprecated and not forwarded (RFC 6633).",
    kernel: "passes",
    fits: ({ what }) => what === "source quench",
  },
  {
    reason:
      "An ICMP error that quotes a header with a wrong checksum is dropped (RFC 5508, REQ-3a). The kernel does not look at it.",
    kernel: "passes",
    fits: (scene) =>
      scene.what === "error that quotes a wrong IP checksum" || (scene.what.startsWith("any bit of") && isError(scene)),
  },
  {
    reason:
      "An ICMP error in fragments: sluice puts no datagrams together, and cannot check what it quotes. Errors are no longer than 576 bytes (RFC 1812, section 4.3.2.3), which every link carries whole.",
    kernel: "passes",
    fits: (scene) => scene.what.startsWith("fragments") && isError(scene),
  },
  {
    reason:
      "A first fragment without the whole TCP header is an attack on filters (RFC 1858). The kernel puts it together first.",
    kernel: "passes",
    fits: ({ what, protocol }) => what === "fragments of 8 bytes" && protocol === "TCP",
  },
  {
    reason:
      "A RST that refuses a SYN without naming it (RFC 9293, section 3.10.7.3), or whose number does not fit what a forger who knew the SYN's has said in the remote's name just before. The SYN is sent again.",
    kernel: "passes",
    fits: (scene) =>
      /^after (SYN|FIN|data|acknowledgment)|^any bit of layer 4/.test(scene.what) && (tcpFlags(scene) & RST) !== 0,
  },
  {
    reason:
      "A RST of the remote's out of the window is dropped (RFC 5961, section 3). The kernel lets it through once the inside has sent its FIN.",
    kernel: "passes",
    fits: ({ what, side }) => what === "RST out of the window" && side === "outside",
  },
  {
    reason:
      "A wrong layer-4 checksum goes on, as wrong as it came, for the end to judge (RFC 3022, section 4.1). The kernel calls it invalid.",
    kernel: "drops",
    fits: ({ what }) => ["TCP checksum", "UDP checksum", "any one bit flipped"].includes(what),
  },
  {
    reason:
      "The flow of an attempt that was refused or given up: the kernel forgets it with the RST, and what comes after is invalid; sluice keeps it for 4 minutes (RFC 7857, section 2.2).",
    kernel: "drops",
    fits: ({ isReset }) => isReset,
  },
  {
    reason:
      "A segment out of the windows goes on without any say in the flow's state, for the ends to judge, unless it is the remote's RST or SYN. The kernel calls it invalid, and after one with false numbers that it believed also the true ones.",
    kernel: "drops",
    fits: ({ what }) =>
      /^(FIN|RST) out of the window$|^data far|^acknowledgment|^(after )?any bit of layer 4|^after (SYN|FIN|data)/.test(
        what,
      ),
  },
  {
    reason:
      "A SYN within the window goes on to the host, which challenges it (RFC 5961, section 4.2). The kernel drops any.",
    kernel: "drops",
    fits: ({ what, side }) => what === "SYN in the window" && side === "outside",
  },
  {
    reason:
      "sluice translates fragments one by one: those of a datagram that is not whole go on for the receiver to judge, and of those that overlap what comes first. The kernel passes on whole datagrams only.",
    kernel: "drops",
    fits: ({ what }) => /^fragments?,? (that overlap|the last missing|beyond)/.test(what),
  },
];

function icmpType(scene: Scene): number {
  const first = scene.packets.map(bytesOf).find((packet) => (packet.readUInt16BE(6) & 0x1fff) === 0);
  return first === undefined || first[9] !== ICMP ? -1 : first[layer4At(first)]!;
}

function protocolOf({ packets }: Scene): number {
  return bytesOf(packets[0]!)[9]!;
}

/** In one packet or in fragments, whatever order they stand in. */
function isError(scene: Scene): boolean {
  return protocolOf(scene) === ICMP && ![0, 8].includes(icmpType(scene));
}

function tcpFlags({ packets }: Scene): number {
  const packet = bytesOf(packets[0]!);
  return packet[9] === TCP ? packet[layer4At(packet) + 13]! : 0;
}

function bytesOf(packet: string): Buffer {
  return Buffer.from(packet, "hex");
}

function layer4At(packet: Buffer): number {
  return (packet[0]! & 15) * 4;
}
