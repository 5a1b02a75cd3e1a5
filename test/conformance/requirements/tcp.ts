import type { Section } from "../requirement.ts";

export const tcp: Section = {
  title: "TCP (RFC 5382)",
  requirements: [
    {
      source: "RFC 5382 REQ-1",
      requirement: "Endpoint-independent mapping.",
      kernel: "Only until its port collides with another's, then dependent on the remote.",
      ours: "partly",
      note: "While unused ports last. After that a new endpoint's connection shares a port with connections to other remotes, which RFC 7857, section 3, allows and REQ-7 does not: refusing it would end a site's browsing at a few thousand connections.",
      tests: [
        "path/mapping > shows one outside port to every remote, over UDP, TCP and ping alike",
        "path/limits > of TCP are shared by flows to different remotes once none is left, and each answer finds its own",
      ],
    },
    {
      source: "RFC 5382 REQ-2",
      requirement: "Every valid sequence of segments passes.",
      kernel: "Yes, but for what it takes to lie outside of the windows.",
      ours: "yes",
      tests: [
        "path/tcp-windows > has nothing of it marked, whatever loses, repeats and reorders its segments before they get here",
        "path/tcp-windows > may send again what got lost behind us, all of a window back, and acknowledge it again",
        "path/tcp-windows > may be followed by another on the same ports once it is over (%s), with any numbers",
        "netns/nat/tcp > of which either side has closed its half carries the other's long after",
        "conformance/tcp-states > every event in every state leads where nf_conntrack goes, but for the differences that are listed",
      ],
    },
    {
      source: "RFC 5382 REQ-2a",
      requirement: "Simultaneous open.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "path/lifetime > a simultaneous open is let through and established (RFC 5382, REQ-2)",
        "path/tcp-windows > may be opened from both ends at once (RFC 5382, REQ-2)",
        "netns/nat/tcp > comes about when both ends begin at once and their SYNs cross",
      ],
    },
    {
      source: "RFC 5382 REQ-4",
      requirement:
        "An unsolicited SYN is not answered for 6 seconds, and dropped in silence when the inside's own SYN follows in that time.",
      kernel: "Its own stack answers with RST at once.",
      ours: "yes",
      note: "Never answered (REQ-4a: the policy is silence).",
      tests: [
        "path/filtering > an unsolicited SYN is met with silence, and the inside's own SYN, shortly after, opens the connection (RFC 5382, REQ-4)",
        "netns/nat/tcp > comes about when the other end's SYN came first, unasked: it hears nothing for six seconds, and then a SYN",
        "netns/control/firewall > keeps the router's stack silent on translated ports, and lets it answer on others",
      ],
    },
    {
      source: "RFC 5382 REQ-5",
      requirement: "An established connection may idle for 2 h 4 min at the least, a transitory one for 4 min.",
      kernel: "5 days; transitory 10 s to 2 min, shorter than asked.",
      ours: "yes",
      note: "A half-closed connection counts as established. Shorter ones are accepted with a warning that names the RFC. When no unused port is left, a connection that is over gives its port up before its 4 minutes are.",
      tests: [
        "path/lifetime > an established connection lives for hours",
        "path/lifetime > an unanswered SYN lives for the transitory timeout",
        "path/lifetime > a connection whose two FINs were seen lives for the transitory timeout, acknowledged or not",
        "unit/control/config > needs nothing but uplinks, and has every default filled in",
      ],
    },
    {
      source: "RFC 5382 REQ-7",
      requirement: "No port overloading for TCP.",
      kernel: "Shares a port between flows to different remotes.",
      ours: "partly",
      note: "See REQ-1: only when no unused port and no closed connection's port is left, and never two flows with one external tuple.",
      tests: [
        "path/limits > of TCP: first an unused one, then that of the connection closed longest ago, and its flow ends",
        "path/limits > no two flows ever have the same reply tuple, however hard ports are fought for",
      ],
    },
    {
      source: "RFC 5382 REQ-8",
      requirement: "Hairpinning.",
      kernel: "None.",
      ours: "yes",
      tests: [
        "path/hairpin > carries a TCP connection to a forwarded port of our own address",
        "netns/nat/hairpin > meet by %s at each other's outside endpoints",
      ],
    },
    {
      source: "RFC 5382 REQ-9",
      requirement: 'ICMP "destination unreachable" about a connection is translated.',
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "path/icmp-errors > an error from outside (%s) reaches the host, about the packet as it sent it",
        "netns/traffic/icmp-errors > of a provider that has no route ends the client's connection at once",
      ],
    },
    {
      source: "RFC 5382 REQ-10",
      requirement: "ICMP never ends the mapping or the connection.",
      kernel: "It does not.",
      ours: "yes",
      tests: ["path/icmp-errors > errors neither end a flow nor keep it alive"],
    },
  ],
};
