import type { Section } from "../requirement.ts";

export const protocols: Section = {
  title: "Other protocols",
  requirements: [
    {
      source: "RFC 3022, section 2.1",
      requirement:
        "GRE, ESP, SCTP and unknown protocols: the address alone is mapped, by protocol and remote; a second host's clash is a counted drop.",
      kernel: "Address-only as well; a second host's packets fail to be entered and are dropped.",
      ours: "yes",
      tests: [
        "path/protocols > goes out from the uplink's address and comes back to its host, nothing else touched",
        "path/protocols > of a second host to the same remote is a counted drop, to another remote it is none",
        "path/protocols > protocols do not clash with each other, nor with what has ports",
      ],
    },
    {
      source: "RFC 4787 REQ-10; RFC 5382 REQ-6",
      requirement: "Application gateways (FTP, SIP, PPTP): none by default.",
      kernel: "Modules, none assigned by default.",
      ours: "yes",
      note: "There are none at all: payload is never read.",
      tests: ["path/translate > comes back as it went when its answer is translated in reverse"],
    },
  ],
};

export const leaks: Section = {
  title: "Emit nothing untranslated",
  requirements: [
    {
      source: "RFC 3022, section 4; BCP 38",
      requirement: "No packet leaves an uplink with a source address that is not that uplink's own.",
      kernel: "What is invalid leaves as it came: 11,676 of 37,376 captured packets, with a private source.",
      ours: "yes",
      note: "Also held by the rig under every path test and by a sniffer in every end-to-end test.",
      tests: [
        "netns/kernel/verdicts > of ours, nothing leaves but from the uplink's own address",
        "netns/traffic/unsolicited > reports a packet that a route of the administrator's leads past the translator",
        "path/uplinks > never again sends from the one it has lost",
      ],
    },
  ],
};

export const unsolicited: Section = {
  title: "Unsolicited inbound",
  requirements: [
    {
      source: "RFC 4787, section 5; RFC 5382 REQ-4",
      requirement: "It creates no state and reserves no port.",
      kernel: "It makes an entry of its own stack's, which takes the port from the next mapping.",
      ours: "yes",
      tests: [
        "path/mapping > a stranger, and a friend from another port, reach nobody and leave no state",
        "path/filtering > is dropped without a word, with %s filtering",
      ],
    },
    {
      source: "RFC 5382 REQ-4; RFC 8445",
      requirement:
        "It gets no answer from the router's own stack for a port of the translator's: no RST, no port-unreachable.",
      kernel: "RST or port-unreachable at once, which ends the other side's attempt (ICE fails).",
      ours: "yes",
      tests: [
        "netns/control/firewall > keeps the router's stack silent on translated ports, and lets it answer on others",
        "netns/nat/tools > nmap from outside sees by %s none of the translator's ports, while they are in use",
        "netns/nat/webrtc > open a WebRTC data channel, the first site's host as %s, and send a megabyte each way",
        "netns/traffic/unsolicited > who knows the port of a flow is not let in to it, from another address or another port",
      ],
    },
  ],
};

export const timeouts: Section = {
  title: "Timeouts",
  requirements: [
    {
      source: "Linux nf_conntrack",
      requirement:
        "The kernel's own: established 5 d; syn_sent, fin_wait, time_wait 120 s; syn_recv, close_wait 60; last_ack 30; close 10; udp 30/120; icmp 30; generic 600; gre 30/180. Ours default to the RFCs' floors where those are lower, and all are configurable.",
      kernel: "As said.",
      ours: "yes",
      note: "established 2 h 4 min, transitory 4 min, UDP 5 min, ICMP 60 s, others 10 min.",
      tests: [
        "unit/control/config > needs nothing but uplinks, and has every default filled in",
        "unit/control/config > gives back what it says",
        "path/protocols > a host keeps its remote until it has been silent for the timeout of such protocols, either side counting",
      ],
    },
  ],
};
