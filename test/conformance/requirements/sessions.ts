import type { Section } from "../requirement.ts";

export const sessions: Section = {
  title: "Sessions (RFC 7857, RFC 6146)",
  requirements: [
    {
      source: "RFC 7857, section 2.1",
      requirement: "The timeouts of connections that open and of those that close are configured separately.",
      kernel: "One for every state.",
      ours: "no",
      note: "`tcpTransitory` is one for both. Its default of 4 minutes is what the RFC recommends for either, and a connection that is over gives its port up before that when ports are scarce, which is what shorter timeouts are for.",
      tests: [
        "path/lifetime > an unanswered SYN lives for the transitory timeout",
        "path/lifetime > a connection whose two FINs were seen lives for the transitory timeout, acknowledged or not",
      ],
    },
    {
      source: "RFC 7857, section 2.2; RFC 6146, section 3.5.2.2",
      requirement: "A RST is translated, and the state kept for a while, so that a forged one ends nothing.",
      kernel: "10 s.",
      ours: "yes",
      note: "4 minutes; the connection is open again when its remote goes on. Gives way before a new one would be refused.",
      tests: [
        "path/lifetime > a connection that %s has reset stays for the transitory timeout, so that a forged reset ends nothing at once",
        "path/isolation > leaves a flow that others do not get, however short ports are, and that goes on when its remote does",
        "path/isolation > leaves a flow that others do not get, however short ports are, and that goes on when its remote does",
        "path/tcp-windows > cannot end a connection by a RST %i bytes off",
      ],
    },
    {
      source: "RFC 5961, section 3.2; RFC 9293, section 3.10.7",
      requirement: "A RST of the translator's own has exactly the number that its receiver expects.",
      kernel: "Sends none: it forgets the connections of an address that is gone, and those of a dead line time out.",
      ours: "yes",
      note: "Sent to both ends when an uplink dies or has another address, and to a host that goes on with such a connection.",
      tests: [
        "path/cut-off > %s ends at once, with the numbers that both ends expect",
        "path/cut-off > a host that goes on gets a RST with the number that he acknowledges, and nothing leaves",
        "path/cut-off > ends the connections from its old one, whose remotes hear nothing: no such source is its own",
      ],
    },
    {
      source: "RFC 7857, section 9; RFC 6056",
      requirement: "Outside ports are chosen at random.",
      kernel: "Keeps the host's port where it is free.",
      ours: "yes",
      note: "A fair shuffle of the range at start, and after that the port that has rested longest.",
      tests: [
        "path/limits > come in an order that the seed decides and nobody can guess",
        "unit/tables/port-pool > the first order is a fair shuffle: every port is as likely to be first as any other",
      ],
    },
    {
      source: "RFC 6864, section 5.3; RFC 7857, section 10",
      requirement:
        "The identification of datagrams that may be cut is rewritten, because hosts that are merged would collide.",
      kernel: "Left as it is.",
      ours: "yes",
      tests: [
        "path/identifications > has a number of its own among all hosts and protocols, whatever number its host gave it",
        "path/identifications > has a number that comes again only after all the others",
        "path/identifications > keeps its number, and takes none away",
      ],
    },
  ],
};
