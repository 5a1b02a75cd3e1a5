/** The checklist of what the translator must do and withstand, in the document's order. */

import type { Section } from "./requirement.ts";
import { operations, packets, resources } from "./requirements/attacks.ts";
import { forwarding } from "./requirements/forwarding.ts";
import { icmp } from "./requirements/icmp.ts";
import { ipv6 } from "./requirements/ipv6.ts";
import { leaks, protocols, timeouts, unsolicited } from "./requirements/others.ts";
import { sessions } from "./requirements/sessions.ts";
import { tcp } from "./requirements/tcp.ts";
import { udp } from "./requirements/udp.ts";

export const translator: readonly Section[] = [
  udp,
  tcp,
  icmp,
  sessions,
  forwarding,
  ipv6,
  protocols,
  leaks,
  unsolicited,
  timeouts,
];

export const faults: readonly Section[] = [packets, resources, operations];
