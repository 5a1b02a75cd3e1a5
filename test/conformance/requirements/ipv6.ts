import type { Section } from "../requirement.ts";

const notBuilt = "IPv6 is not translated yet: nothing of it is steered into the TUN, and what comes is dropped.";

export const ipv6: Section = {
  title: "IPv6 (RFC 6296, 4443, 8200)",
  requirements: [
    {
      source: "RFC 6296",
      requirement:
        "Masquerade (NAT66) to the uplink's address, or translation of the prefix, neutral to checksums, where the uplink has one.",
      kernel: "Both.",
      ours: "no",
      note: notBuilt,
      tests: [],
    },
    {
      source: "RFC 4443",
      requirement: "ICMPv6 errors are translated.",
      kernel: "Yes.",
      ours: "no",
      note: notBuilt,
      tests: [],
    },
    {
      source: "RFC 4861, section 6; RFC 4291, section 2.5.6",
      requirement: "Neighbour discovery and link-local addresses are never forwarded.",
      kernel: "Yes.",
      ours: "yes",
      note: "Nothing of IPv6 is forwarded.",
      tests: ["path/malformed > any version but 4 is dropped"],
    },
    {
      source: "RFC 8200, section 3",
      requirement: "The hop limit goes down by one on each way.",
      kernel: "Yes.",
      ours: "no",
      note: notBuilt,
      tests: [],
    },
    {
      source: "RFC 8200, section 4",
      requirement: "Extension headers are walked, with a bound.",
      kernel: "Yes.",
      ours: "no",
      note: notBuilt,
      tests: [],
    },
  ],
};
