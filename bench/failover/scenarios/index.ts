/** The scenarios, in the order of the report. */

import type { Scenario } from "../types.ts";
import { flapping } from "./flaps.ts";
import { links } from "./links.ts";
import { beyond, dead, silent } from "./outage.ts";
import { leastBusy, lowestLatency } from "./policies.ts";
import { lossy, slow } from "./quality.ts";
import { reloading } from "./reload.ts";

export const scenarios: readonly Scenario[] = [
  silent,
  dead,
  beyond,
  lossy,
  slow,
  links,
  flapping,
  leastBusy,
  lowestLatency,
  reloading,
];
