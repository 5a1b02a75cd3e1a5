import { describe } from "vitest";
import { fact } from "../support/fact.ts";

describe("the kernel", () => {
  fact("chooses the TUN queue that our hash names, for every kind of packet", "tun-steering.ts");
  fact("chooses the TUN queue that our hash names for IPv6 too, by the port alone", "tun-steering6.ts");
  fact("gives an uplink's IPv6 packet to the socket that its port, prefix or forward names", "fanout-port6.ts");
  fact("gives an uplink's packet to the socket that its NAT port names, fragments put together", "fanout-port.ts");
  fact("hands an uplink's socket what the translator needs and nothing else", "receive-filter.ts");
  fact("shows packets to the socket that an nft ingress chain keeps from the stack", "tap-before-nft.ts");
  fact("is told the protocol of every packet on a link without a MAC header", "link-without-mac.ts");
  fact("hands over and takes back super-packets with partial checksums", "super-packets.ts");
  fact("takes a TUN and its routes away with its last descriptor, and lets nobody join it", "tun-lifetime.ts");
});

describe("the shim", () => {
  fact("goes on with a new socket under the old number, and never spins on a dead device", "socket-replaced.ts");
  fact("survives whatever JavaScript writes into a loop's memory or does to it", "hostile-loop.ts");
  fact("takes half a megabyte of a device in a turn, and the rest in the next", "turn-bound.ts");
  fact("closes what an ended environment opened, and nothing that others use", "environment-ends.ts");
  fact("sends by one interface whatever the routes say, and is told of answers by the event loop", "device-socket.ts");
  fact("gives an echo probe the answers to its own questions, and nothing else", "echo-filter.ts");
  fact("counts what answered a probe in time, though the thread was too busy to look", "busy-prober.ts");
});
