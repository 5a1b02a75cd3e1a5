/** Each type of probe by its name in the configuration. */

import type { ProbeType } from "../config-types.ts";
import { openArpAsker } from "./arp.ts";
import type { Asker, AskerSettings } from "./asker.ts";
import { openDnsAsker } from "./dns.ts";
import { openHttpAsker } from "./http.ts";
import { openIcmpAsker } from "./icmp.ts";
import { openTcpAsker } from "./tcp.ts";

/** Opens nothing yet that could fail: sockets come with the first question. */
export const openAsker: Readonly<Record<ProbeType, (settings: AskerSettings) => Asker>> = {
  icmp: openIcmpAsker,
  arp: openArpAsker,
  tcp: openTcpAsker,
  http: openHttpAsker,
  dns: openDnsAsker,
};

/** Whether every question has a socket of its own. */
export const hasOwnSockets: Readonly<Record<ProbeType, boolean>> = {
  icmp: false,
  arp: false,
  tcp: true,
  http: true,
  dns: true,
};
