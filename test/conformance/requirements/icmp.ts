import type { Section } from "../requirement.ts";

export const icmp: Section = {
  title: "ICMP (RFC 5508)",
  requirements: [
    {
      source: "RFC 5508 REQ-1",
      requirement: "Queries pass, and their identifier is mapped independently of the remote host.",
      kernel: "They pass; the identifier is kept until it collides.",
      ours: "yes",
      tests: [
        "path/mapping > shows one outside port to every remote, over UDP, TCP and ping alike",
        "path/translate > of a ping has the identifier that the client chose, zero included",
        "path/translate > of a timestamp query is translated like that of a ping",
      ],
    },
    {
      source: "RFC 5508 REQ-2",
      requirement: "A query's mapping lives for 60 s at the least.",
      kernel: "30 s.",
      ours: "yes",
      tests: [
        "path/lifetime > a ping's flow lives for its timeout",
        "unit/control/config > needs nothing but uplinks, and has every default filled in",
      ],
    },
    {
      source: "RFC 5508 REQ-3",
      requirement: "A message with a wrong checksum is dropped.",
      kernel: "Invalid: dropped where a rule drops what is.",
      ours: "yes",
      tests: [
        "path/malformed > a wrong checksum is dropped, of a message of odd length too",
        "path/icmp-errors > an error with a wrong checksum of its own is dropped",
      ],
    },
    {
      source: "RFC 5508 REQ-3a",
      requirement: "An error whose embedded IP header has a wrong checksum is dropped.",
      kernel: "Does not look at it.",
      ours: "yes",
      tests: ["path/quoted > an error that quotes a header with a wrong checksum is dropped, from either side"],
    },
    {
      source: "RFC 5508 REQ-3b",
      requirement: "Embedded IP options are skipped to find the embedded layer 4.",
      kernel: "Yes.",
      ours: "yes",
      tests: ["path/icmp-errors > an error that quotes the options of the packet is translated behind them"],
    },
    {
      source: "RFC 5508 REQ-3c",
      requirement: "The embedded layer-4 checksum is not checked.",
      kernel: "It is not.",
      ours: "yes",
      tests: ["path/quoted > an error that quotes a wrong layer-4 checksum is translated like any other"],
    },
    {
      source: "RFC 5508 REQ-4",
      requirement:
        "An error from outside: without a mapping it is dropped; else the embedded headers are reverted, type and code kept, the outer destination set.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "path/icmp-errors > an error from outside (%s) reaches the host, about the packet as it sent it",
        "path/icmp-errors > an error about something we never sent, or about a later fragment, is dropped",
        "netns/traffic/icmp-errors > that quotes what was never sent is dropped",
      ],
    },
    {
      source: "RFC 5508 REQ-5",
      requirement: "An error from inside goes out with our public address as its source.",
      kernel: "Yes.",
      ours: "yes",
      tests: [
        "path/icmp-errors > goes out from the mapped address, about the packet as the remote sent it",
        "path/icmp-errors > is translated when a router of the inside sends it, or our own kernel",
      ],
    },
    {
      source: "RFC 5508 REQ-6",
      requirement: "Errors neither refresh nor delete a mapping.",
      kernel: "They do neither.",
      ours: "yes",
      tests: ["path/icmp-errors > errors neither end a flow nor keep it alive"],
    },
    {
      source: "RFC 5508 REQ-7",
      requirement: "Hairpinned errors are translated.",
      kernel: "No hairpinning.",
      ours: "yes",
      tests: ["path/hairpin > carries an ICMP error back to the first host, about the packet as it sent it"],
    },
    {
      source: "RFC 5508 REQ-8",
      requirement: "Out of resources: ICMP 3/13 goes to the sender, at a limited rate.",
      kernel: "Silence.",
      ours: "yes",
      tests: [
        "path/unreachable > the sender of %s hears that it is prohibited, about the packet as it sent it",
        "path/unreachable > it is said 50 times at once and then a hundred times a second, all kinds together",
      ],
    },
  ],
};
