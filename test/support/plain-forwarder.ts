/** A forwarder's options in a test or benchmark that is about something else: one worker, and the configuration's defaults. */

import { filtering } from "../../src/dataplane/conntrack.ts";
import { parseAddress } from "../../src/wire/ipv4.ts";
import { plainPolicy } from "./plain-policy.ts";

/** No interface's address: the source of our own ICMP errors. */
export const errorSource = "10.255.255.2";

export const plainForwarder = {
  worker: 0,
  workers: 1,
  endpointIndependent: true,
  filtering: filtering.addressAndPort,
  forwards: [],
  insidePrefix: null,
  timeouts: {
    tcpEstablishedMs: 7_440_000,
    tcpTransitoryMs: 240_000,
    udpMs: 300_000,
    icmpMs: 60_000,
    otherMs: 600_000,
  },
  policy: plainPolicy,
  balanceKey0: 3,
  balanceKey1: 4,
  errorSource: parseAddress(errorSource)!,
} as const;
