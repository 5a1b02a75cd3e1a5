import type { Section } from "../requirement.ts";

export const forwarding: Section = {
  title: "Forwarding (RFC 1812, 1191, 1624, 768, 9293, 5961)",
  requirements: [
    {
      source: "RFC 1812, section 5.2.2",
      requirement:
        "Version, header length, total length and header checksum are checked, and what fails is dropped in silence.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "path/malformed > any version but 4 is dropped",
        "path/malformed > a header shorter than 20 bytes, or longer than the packet, is dropped",
        "path/malformed > a total length below the header's, or beyond what came, is dropped",
        "path/malformed > a header that any one bit has flipped in is dropped",
      ],
    },
    {
      source: "RFC 1812, section 5.2.2",
      requirement: "A link's trailer is trimmed.",
      kernel: "Yes.",
      ours: "yes",
      tests: ["path/translate > loses the trailer that a link has padded it with"],
    },
    {
      source: "RFC 1812, section 5.3.1",
      requirement: "The time to live goes down by one on each way, and the router is one hop in a traceroute.",
      kernel: "Yes.",
      ours: "yes",
      note: "The kernel does it on the way into the TUN and out of it; sluice leaves the field alone.",
      tests: [
        "path/translate > keeps its time to live, which the kernel counts, and its type of service and options",
        "netns/traffic/traceroute > by %s shows router, provider and server",
        "netns/traffic/traceroute > from outside along a flow shows provider and router, which answers from the flow's address",
      ],
    },
    {
      source: "RFC 5508 REQ-5",
      requirement: "The kernel's own errors about a translated flow are translated like any inside error.",
      kernel: "Its own.",
      ours: "yes",
      tests: [
        "path/icmp-errors > is translated when a router of the inside sends it, or our own kernel",
        "netns/traffic/icmp-errors > of the router that the packet's time ran out at names the router",
      ],
    },
    {
      source: "RFC 2474, RFC 3168",
      requirement: "DSCP and ECN are kept.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "path/translate > keeps its time to live, which the kernel counts, and its type of service and options",
        "path/offload > congestion marks on a super-packet are kept",
      ],
    },
    {
      source: "RFC 1812, section 5.3.7",
      requirement: "A loop, our own output routed back to us, is recognised by its source and dropped.",
      kernel: "A martian, dropped.",
      ours: "yes",
      tests: ["path/mapping > our own output, routed back to us, is dropped"],
    },
    {
      source: "RFC 1812, section 4.3.2.7",
      requirement: "No ICMP error about an ICMP error, a later fragment, a broadcast or multicast, or a bad source.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "path/unreachable > about an ICMP error, of a flow or of none, from either side",
        "path/unreachable > about a later fragment; about a first one it is, once",
        "path/quoted > no error is said about a packet to a broadcast or multicast address, or from a source that no host has",
      ],
    },
    {
      source: "RFC 1812, section 4.3.2.8",
      requirement: "Errors are rate-limited.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "path/unreachable > it is said 50 times at once and then a hundred times a second, all kinds together",
        "path/icmp-errors > comes in bursts of 50 and then a hundred times a second",
      ],
    },
    {
      source: "RFC 1191, section 4",
      requirement: '"Fragmentation needed" is sent with the uplink\'s MTU, and translated when it is received.',
      kernel: "Both.",
      ours: "yes",
      tests: [
        "path/icmp-errors > tells the sender of a packet with DF the MTU of its uplink, and quotes the packet as it sent it",
        "netns/traffic/path-mtu > is told to the sender, with the MTU, by the provider's own error",
        "netns/traffic/path-mtu > is found by tracepath",
      ],
    },
    {
      source: "RFC 6691",
      requirement:
        "The MSS of SYN and SYN+ACK is lowered to the uplink's MTU less 40 and never raised, whatever options stand before it.",
      kernel: "Only by a rule (maxseg size set rt mtu).",
      ours: "yes",
      tests: [
        "unit/dataplane/tcp-mss > is lowered to the MTU less 40 bytes, and never raised",
        "unit/dataplane/tcp-mss > is found behind any options, at even and odd places, and the checksum is right or wrong as it was",
        "path/mss > both ends are told of the flow's uplink, each uplink its own",
      ],
    },
    {
      source: "RFC 1624, equation 3",
      requirement: "Checksums change by difference.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "unit/wire/checksum > a checksum changed by difference equals the one computed anew",
        "netns/nat/judge > every packet on either side is sound",
        "unit/wire/checksum > the example of RFC 1624, section 4: 0x5555 becoming 0x3285 turns 0xdd2f into 0x0000",
      ],
    },
    {
      source: "RFC 768",
      requirement: "An absent UDP checksum (0) stays absent, and a computed 0 goes out as 0xffff.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "path/checksums > of UDP that is absent stays absent, both ways",
        "path/checksums > of UDP is never 0 when it was there, whatever the sum comes to",
      ],
    },
    {
      source: "RFC 3022, section 4.1",
      requirement: "A wrong layer-4 checksum is never repaired.",
      kernel: "Invalid: left untranslated, or dropped where a rule drops what is.",
      ours: "yes",
      tests: [
        "path/checksums > of TCP or UDP that was wrong stays wrong, both ways",
        "netns/nat/judge > a packet with a wrong checksum is found by the judge, and forwarded as wrong as it came",
        "path/mss > a wrong checksum stays wrong",
        "path/protocols > with a wrong checksum goes on with a wrong one",
      ],
    },
    {
      source: "Linux, include/linux/skbuff.h",
      requirement: "A partial checksum changes with the addresses and not with the ports, with offloads on and off.",
      kernel: "Its own.",
      ours: "yes",
      tests: [
        "unit/wire/checksum > a partial checksum changed by difference is the pseudo-header's new sum",
        "path/offload > a plain packet with a partial checksum keeps it partial",
        "netns/traffic/download > arrives whole by %s, in both directions",
      ],
    },
    {
      source: "RFC 5961, sections 3 and 4",
      requirement: "A RST or SYN out of the window does not end a flow.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "path/tcp-windows > cannot end a connection by a RST %i bytes off",
        "path/tcp-windows > cannot restart one by a SYN out of the window, nor change how its windows are read",
        "path/filtering > is not ended by a RST out of its window",
        "netns/nat/tcp > outlives a reset that does not fit its window",
      ],
    },
  ],
};
