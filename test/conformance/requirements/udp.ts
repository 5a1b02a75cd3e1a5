import type { Section } from "../requirement.ts";

export const udp: Section = {
  title: "UDP (RFC 4787)",
  requirements: [
    {
      source: "RFC 4787 REQ-1",
      requirement: "Endpoint-independent mapping: one inside endpoint has one outside endpoint towards everybody.",
      kernel: "Only until its port collides with another's, then dependent on the remote.",
      ours: "yes",
      tests: [
        "path/mapping > shows one outside port to every remote, over UDP, TCP and ping alike",
        "netns/nat/mapping > of a %s port is one outside endpoint for all remotes",
        "netns/nat/mapping > of a %s port that two hosts use is an endpoint for each host, for all remotes",
        "netns/nat/mapping > of a port that two hosts use is endpoint-independent in coturn's eyes too",
        "path/limits > of UDP are never shared: the next endpoint is refused by name",
      ],
    },
    {
      source: "RFC 4787 REQ-2",
      requirement:
        "Paired pooling: with several uplinks, all mappings of one inside endpoint stay on one uplink while it lives.",
      kernel: "Follows the route of each packet's destination.",
      ours: "yes",
      note: "A whole host keeps to one uplink with `balance.key: source`.",
      tests: [
        "path/mapping > keeps an inside endpoint on its uplink when the lookup table has changed meanwhile",
        "unit/dataplane/classify > does not depend on what is not in the key",
      ],
    },
    {
      source: "RFC 4787 REQ-3",
      requirement: "No port overloading: two inside endpoints never share an outside UDP port.",
      kernel: "Shares a port between flows to different remotes.",
      ours: "yes",
      tests: [
        "path/limits > of UDP are never shared: the next endpoint is refused by name",
        "path/limits > no two flows ever have the same reply tuple, however hard ports are fought for",
      ],
    },
    {
      source: "RFC 4787 REQ-3a",
      requirement: "Inside ports 0 to 1023 and 1024 to 65535 should be mapped to ports of the same class.",
      kernel: "Keeps the classes apart: below 512, below 1024, and the rest.",
      ours: "partly",
      note: "Ordinary ports stay ordinary. A host's port below 1024 is mapped to an ordinary one as well: the range of `nat.ports` is kept from the router's own services, and those live below 1024. The RFC only recommends it.",
      tests: ["path/translate > leaves with the uplink's address and a port of the range, for the same destination"],
    },
    {
      source: "RFC 4787 REQ-5",
      requirement: "A UDP mapping lives 2 minutes without traffic at the least, 5 by default.",
      kernel: "30 s while unanswered, 120 s after that.",
      ours: "yes",
      note: "5 minutes; a shorter configuration is accepted with a warning that names the RFC.",
      tests: [
        "path/lifetime > a UDP flow lives for its timeout after the last packet, from either side",
        "netns/nat/mapping > is so in coturn's eyes too, and over when its time is",
        "unit/control/config > needs nothing but uplinks, and has every default filled in",
        "unit/control/config > is a warning when the RFCs ask for more, or when nothing would be balanced",
      ],
    },
    {
      source: "RFC 4787 REQ-6",
      requirement: "Outbound packets refresh the mapping.",
      kernel: "Yes.",
      ours: "yes",
      tests: ["path/lifetime > a UDP flow lives for its timeout after the last packet, from either side"],
    },
    {
      source: "RFC 4787 REQ-8",
      requirement: "Filtering is endpoint-independent, or address-dependent where strictness matters more.",
      kernel: "Address- and port-dependent.",
      ours: "yes",
      note: "All three by configuration. The default is address- and port-dependent, stricter than the RFC recommends: what nobody asked for stays out.",
      tests: [
        "path/filtering > %s is let in: %s",
        "path/filtering > with address-dependent filtering a host is let in as long as a flow with it lives, and no longer",
        "path/filtering > a port that no mapping has lets nobody in, whoever else has mappings",
        "netns/nat/mapping > with %s filtering",
      ],
    },
    {
      source: "RFC 4787 REQ-9, REQ-9a",
      requirement: "Hairpinning, with the outside address and port as the source that the other host sees.",
      kernel: "None.",
      ours: "yes",
      tests: [
        "path/hairpin > reaches the other host from the first one's outside endpoint, and the answer comes back",
        "netns/nat/hairpin > meet by %s at each other's outside endpoints",
        "netns/nat/mapping > turns back what a host sends to its own mapping, which lives as long as it should",
      ],
    },
    {
      source: "RFC 4787 REQ-11",
      requirement: "Deterministic: mapping and filtering do not change their kind under any circumstances.",
      kernel: "The mapping changes its kind when a port collides.",
      ours: "yes",
      note: "When no port is left a new endpoint is refused instead, and those that have one keep it.",
      tests: [
        "path/limits > of UDP are never shared: the next endpoint is refused by name",
        "netns/nat/mapping > of a port that two hosts use is endpoint-independent in coturn's eyes too",
        "path/filtering > whom the mapping has sent to may always send to it",
      ],
    },
    {
      source: "RFC 4787 REQ-12",
      requirement: "An ICMP error never ends a mapping.",
      kernel: "It does not.",
      ours: "yes",
      tests: ["path/icmp-errors > errors neither end a flow nor keep it alive"],
    },
    {
      source: "RFC 4787 REQ-13, REQ-13a",
      requirement: 'Too big with DF set: "fragmentation needed" goes back. Without DF: it is cut.',
      kernel: "Both.",
      ours: "yes",
      tests: [
        "path/icmp-errors > tells the sender of a packet with DF the MTU of its uplink, and quotes the packet as it sent it",
        "path/fragments > is cut into fragments that make up the same packet (MAC header %i bytes, MTU %i)",
        "netns/traffic/path-mtu > is told to the sender: by the kernel what fits no uplink, by sluice what does not fit the flow's",
      ],
    },
    {
      source: "RFC 4787 REQ-14, REQ-14a",
      requirement: "Fragments are handled in any order of arrival, in bounded memory.",
      kernel: "Collects the whole datagram first, within 4 MB.",
      ours: "yes",
      tests: [
        "path/fragments > come out whole in any order, many packets mixed",
        "path/fragments > of one source may fill a quarter of the waiting room, of all together the whole",
        "path/fragments > that wait are forgotten after 30 seconds, and counted",
      ],
    },
  ],
};
