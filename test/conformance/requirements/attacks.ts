import type { Section } from "../requirement.ts";

export const packets: Section = {
  title: "Malformed and hostile packets",
  requirements: [
    {
      source: "RFC 1812, section 5.2.2",
      requirement: "Bad version, header length, length or IP checksum: a named drop.",
      kernel: "Dropped, counted together.",
      ours: "yes",
      tests: [
        "path/malformed > any version but 4 is dropped",
        "path/malformed > a %s packet that was cut off at any byte is truncated, or shorter than it says",
        "path/malformed > a header that any one bit has flipped in is dropped",
      ],
    },
    {
      source: "RFC 9293, section 3.1",
      requirement: "A truncated TCP header or a bad offset: a named drop.",
      kernel: "Invalid: leaves untranslated, or is dropped where a rule drops what is.",
      ours: "yes",
      tests: [
        "path/malformed > a segment that ends before its header does is dropped",
        "path/malformed > an offset below 5, or beyond the segment, is dropped",
      ],
    },
    {
      source: "RFC 9293, section 3.5",
      requirement: "SYN+FIN, NULL, XMAS: a named drop.",
      kernel: "Invalid, as above.",
      ours: "yes",
      tests: [
        "path/malformed > flags that no segment has are dropped: %s",
        "unit/wire/headers > TCP flags are valid exactly when one of SYN, RST and plain is set, and FIN only with ACK alone",
      ],
    },
    {
      source: "RFC 9293, section 3.10.7.1",
      requirement: "A bare RST or ACK without a flow: a named drop.",
      kernel: "RST invalid, as above. An ACK opens a flow (nf_conntrack_tcp_loose).",
      ours: "yes",
      tests: ["path/mapping > a TCP segment without a flow opens none unless it is a SYN"],
    },
    {
      source: "RFC 5722, RFC 1858, RFC 3128",
      requirement: "Overlapping fragments are dropped.",
      kernel: "The datagram is dropped.",
      ours: "yes",
      note: "No part of a datagram passes twice: the first to come counts. A repeated first fragment begins its datagram anew.",
      tests: [
        "path/fragments > that overlap what has passed of their datagram are dropped, also among those that waited",
        "path/ipv6-fragments > that overlaps one before it, or repeats it, is dropped (RFC 5722)",
      ],
    },
    {
      source: "RFC 791, section 3.1",
      requirement: "Fragments beyond 65,535 bytes are dropped.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "path/malformed > a later fragment that would end beyond 65,535 bytes is dropped, and one that just fits is not",
      ],
    },
    {
      source: "RFC 791, section 3.2",
      requirement: "A lone tail is dropped.",
      kernel: "After 30 s.",
      ours: "yes",
      tests: ["path/fragments > that wait are forgotten after 30 seconds, and counted"],
    },
    {
      source: "RFC 4787 REQ-14a",
      requirement: "The memory for fragments is capped, in all and per source.",
      kernel: "In all.",
      ours: "yes",
      tests: ["path/fragments > of one source may fill a quarter of the waiting room, of all together the whole"],
    },
    {
      source: "RFC 791, section 3.2",
      requirement: "A fragment that comes twice does no harm.",
      kernel: "Yes.",
      ours: "yes",
      tests: ["path/fragments > that come twice pass once; a repeated first begins its datagram anew"],
    },
    {
      source: "RFC 1122, section 3.2.1.3; RFC 6890",
      requirement: "Sources in 0/8, 127/8, multicast, broadcast or class E: drop.",
      kernel: "Martians, dropped, but for class E.",
      ours: "yes",
      tests: ["path/malformed > sources that no host may have are dropped"],
    },
    {
      source: "RFC 7126, sections 4.3 and 4.4",
      requirement: "Source routes: drop.",
      kernel: "Dropped, unless accept_source_route says otherwise.",
      ours: "yes",
      tests: ["path/malformed > a %s source route is dropped, wherever it stands among the options"],
    },
    {
      source: "BCP 38",
      requirement: "A LAN source that is not in the LAN: drop.",
      kernel: "With a strict rp_filter.",
      ours: "yes",
      tests: [
        "path/foreign-source > from a network that is not inside is dropped by name, and opens nothing",
        "netns/traffic/foreign-source > gets nowhere, until the router has a route back to it, and again when that is gone",
        "path/foreign-source > from the LAN, a network behind it and the machine itself leaves",
      ],
    },
    {
      source: "CERT CA-1997-28 (LAND)",
      requirement: "A packet whose source is its destination: drop.",
      kernel: "Dropped where the address is its own.",
      ours: "yes",
      tests: ["path/malformed > a packet from its own destination (LAND) is dropped"],
    },
    {
      source: "RFC 1918, section 3",
      requirement: "From an uplink, addressed to a private address: drop.",
      kernel: "Forwarded into the LAN.",
      ours: "yes",
      tests: ["path/border > what an uplink brings for a private address is dropped, with and without a flow"],
    },
    {
      source: "BCP 38, RFC 8704",
      requirement: "A reply on the wrong uplink: drop.",
      kernel: "Accepted.",
      ours: "yes",
      tests: [
        "path/mapping > an answer on another uplink than the question's is dropped",
        "path/icmp-errors > an error on another uplink than the packet's is dropped",
        "path/fragments > arriving on another uplink than its first, is dropped",
      ],
    },
    {
      source: "RFC 1812, section 5.2.7.2",
      requirement: "ICMP redirect: drop.",
      kernel: "Drops it about a translated flow.",
      ours: "yes",
      tests: [
        "path/icmp-errors > redirects and source quenches, which concern one link only or nobody, are dropped both ways",
      ],
    },
    {
      source: "RFC 791, section 3.2",
      requirement: '"Fragmentation needed" below 576 is raised to it.',
      kernel: "Passed on as it is.",
      ours: "yes",
      tests: ["path/icmp-errors > a next-hop MTU that no link may have is raised before it reaches the host"],
    },
    {
      source: "Linux, include/uapi/linux/virtio_net.h",
      requirement: "A vnet header that lies (type, size 0, header length, checksum outside the packet): drop.",
      kernel: "EINVAL, or a kernel bug.",
      ours: "yes",
      tests: [
        "path/malformed > is dropped: %s",
        "path/malformed > is dropped: offloads of a fragment, which no card could do",
        "fuzz/fuzz > all targets take what the fuzzer makes of them",
      ],
    },
    {
      source: "RFC 1812, section 5.3.7",
      requirement:
        "A packet whose inner source is our own uplink address, or our own output routed back: drop, and say so once.",
      kernel: "A martian, dropped.",
      ours: "partly",
      note: "Dropped and counted as `own-address` in `sluice status`; the log does not mention it.",
      tests: ["path/mapping > our own output, routed back to us, is dropped"],
    },
  ],
};

export const resources: Section = {
  title: "Resources",
  requirements: [
    {
      source: "RFC 6888 REQ-4",
      requirement: "A cap of flows and ports per host: one that opens flows without end takes only its own share.",
      kernel: "None.",
      ours: "yes",
      tests: [
        "path/limits > has no more than its share of flows, and the others are not touched",
        "path/isolation > costs the other hosts no flow and no new connection",
        "netns/traffic/scarcity > a host's share of flows ends its own new flows and nobody else's",
      ],
    },
    {
      source: "RFC 4987",
      requirement: "The unanswered are evicted first; existing flows survive a SYN flood.",
      kernel: "Evicts what is not assured when its table is full.",
      ours: "yes",
      tests: [
        "netns/traffic/flood > costs the others none of their flows, and hardly one new connection of a hundred",
        "path/isolation > costs the other hosts no flow and no new connection",
        "path/isolation > its own oldest unanswered one gives way, and none that is answered",
        "path/isolation > visitors that never complete a handshake take no more than the share of the host that they ask for",
        "path/limits > refuses new flows by name, and those it has go on",
        "path/limits > takes the row of the connection that has been over longest",
      ],
    },
    {
      source: "Crosby and Wallach, 2003 (algorithmic complexity attacks)",
      requirement: "The flow hash is keyed with a random secret.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "unit/tables/hash-index > depends on either half of its key and on every word",
        "unit/dataplane/classify > depends on the secret, so that nobody outside can aim at an uplink",
      ],
    },
    {
      source: "Design",
      requirement: "No unbounded table anywhere.",
      kernel: "nf_conntrack_max.",
      ours: "yes",
      tests: [
        "model/conntrack > a flow costs at most 128 bytes, all tables and lists together",
        "path/allocation > a million packets that open flows, end them, or are dropped",
        "netns/lifecycle/leaks > a daemon whose interfaces and children come and go, and that is asked all the time, holds what it held",
      ],
    },
  ],
};

export const operations: Section = {
  title: "The machine around it",
  requirements: [
    {
      source: "Design",
      requirement:
        "An uplink's interface that goes down, is renamed, deleted and made again, or gets a new address: its flows end or move as configured, the others never notice.",
      kernel: "masquerade forgets its flows when the interface goes down; those of other uplinks stay.",
      ours: "yes",
      tests: [
        "netns/lifecycle/uplinks > loses its carrier and gets it back",
        "netns/lifecycle/uplinks > is deleted and made again",
        "netns/lifecycle/uplinks > has another address, which new flows use, and the kernel's own stack never answers for",
        "netns/lifecycle/uplinks > was never noticed by the other's stream, and the log has lines for changes of state only",
        "netns/control/uplinks > follows the MTU, and a rename there and back",
      ],
    },
    {
      source: "Design",
      requirement:
        "Bad configuration: every problem in one error before anything is touched; on reload the old one stays in force.",
      kernel: "nft applies a file wholly or not at all.",
      ours: "yes",
      note: "SIGHUP, `sluice reload`; what needs a restart is refused likewise.",
      tests: [
        "netns/lifecycle/refusal > by a wrong configuration: every problem at once, with line, path, value and expectation",
        "netns/runtime/uplinks-by-reload > a file with a mistake, or with what needs a restart, changes nothing and says why",
        "netns/lifecycle/undo > leaves the machine as it was also when it has read its configuration again, at SIGHUP",
      ],
    },
    {
      source: "Design",
      requirement:
        "A missing privilege, /dev/net/tun or kernel feature is named with how to grant it, and has an exit code of its own.",
      kernel: "Does not apply.",
      ours: "yes",
      tests: [
        "netns/lifecycle/refusal > without privileges, naming those that are missing and how to get them",
        "netns/lifecycle/refusal > without /dev/net/tun, with the module that brings it",
        "unit/control/requirements > name a missing TUN driver, what the system said, and the command that loads it",
      ],
    },
    {
      source: "Design",
      requirement:
        "kill -9, OOM, power: the next start cleans up; meanwhile the machine's traffic takes the kernel's own route (or stops, when configured so).",
      kernel: "Does not apply.",
      ours: "yes",
      tests: [
        "netns/lifecycle/kill > takes them over, leaves them to the kernel when it is killed, and takes them over again",
        "netns/lifecycle/undo > leaves exactly this when it is killed, and the next run undoes it and itself",
        "netns/lifecycle/undo > stops the steered traffic when it is killed with failMode: closed, until the next run has ended",
      ],
    },
    {
      source: "Design",
      requirement: "Nothing stays behind: rules, routes, nft tables, sysctls.",
      kernel: "Does not apply.",
      ours: "yes",
      tests: [
        "netns/lifecycle/undo > leaves the machine as it was when %s ends it",
        "netns/lifecycle/leaks > many starts and stops leave the machine as it was",
      ],
    },
    {
      source: "Design",
      requirement: "Steps of the clock do not matter; after a suspend, what is over expires.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "path/lifetime > a machine that slept for a week wakes up without its old flows",
        "tidy/tidy > of the data plane reads no clock, no randomness and no process",
      ],
    },
  ],
};
