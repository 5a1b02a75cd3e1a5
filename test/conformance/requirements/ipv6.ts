import type { Section } from "../requirement.ts";

export const ipv6: Section = {
  title: "IPv6 (RFC 6296, 4443, 8200)",
  requirements: [
    {
      source: "RFC 4787, over IPv6",
      requirement: "Masquerade (NAT66) to the uplink's address.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "path/ipv6 > leaves with the uplink's address, a port of the range and a right checksum, and its answer comes back",
        "path/ipv6 > keeps one mapping for all remotes (RFC 4787, REQ-1), whatever the flow label",
        "path/ipv6 > TCP is followed from SYN to FIN, with the MSS clamped to the MTU less 60 on both ways",
        "netns/ipv6/forwarding > shares connections among the uplinks, each from that uplink's address, and lists them as text",
      ],
    },
    {
      source: "RFC 4787 REQ-9, over IPv6",
      requirement: "Hairpinning.",
      kernel: "None.",
      ours: "yes",
      tests: [
        "path/ipv6-hairpin > reaches the other from the first one's outside endpoint, and the answer and an error come back",
        "path/ipv6-hairpin > hosts that know each other by addresses of a prefix reach each other through the TUN",
      ],
    },
    {
      source: "RFC 6296",
      requirement: "Translation of the prefix, neutral to checksums, where the uplink has one.",
      kernel: "Another target of ip6tables (NPT), without state.",
      ours: "yes",
      tests: [
        "unit/dataplane/prefix-translation > does the example of RFC 6296",
        "unit/dataplane/prefix-translation > turns every address back into itself, and leaves every sum of its words as it was",
        "path/ipv6-prefix > leaves with an address of the prefix and the port that it has, its checksum untouched, and its answer comes back",
      ],
    },
    {
      source: "RFC 4443; RFC 5508 over IPv6",
      requirement: "ICMPv6 errors are translated, from outside and from inside.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "path/ipv6-errors > an error from outside comes in to the host that sent it, quoting what it sent",
        "path/ipv6-errors > an error from inside goes out with the mapped source, quoting what the remote sent",
        "path/ipv6-errors > neither ends nor refreshes a flow (RFC 5508, REQ-6)",
        "netns/ipv6/forwarding > has its path MTU found by tracepath",
      ],
    },
    {
      source: "RFC 4861, section 7.1; RFC 4291, section 2.5.6",
      requirement: "Neighbour discovery and link-local addresses are never forwarded.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "path/ipv6 > %s is dropped, from either side",
        "path/ipv6 > ICMPv6 of type %i is dropped: neighbour discovery, MLD, redirects and the like",
      ],
    },
    {
      source: "RFC 8200, section 3",
      requirement: "The hop limit goes down by one on each way, and the router is one hop in a traceroute.",
      kernel: "Yes.",
      ours: "yes",
      note: "The kernel does it on the way into the TUN and out of it.",
      tests: [
        "netns/ipv6/forwarding > answers pings of %s, which cost as many hops as there are",
        "netns/ipv6/forwarding > is one hop to traceroute by %s",
      ],
    },
    {
      source: "RFC 8200, section 4; RFC 7045",
      requirement: "Extension headers are walked, with a bound.",
      kernel: "Yes.",
      ours: "yes",
      note: "Eight at the most; source routes are dropped (RFC 5095).",
      tests: [
        "path/ipv6 > go along, and what stands behind them is translated",
        "path/ipv6 > that route by the source, or make no sense, are dropped",
        "unit/wire/ipv6 > takes eight of them",
        "unit/wire/ipv6 > stays within the packet, whatever stands there",
      ],
    },
  ],
};
