/** What an uplink of a test's configuration has besides its name and interface, when the test is about something else. */

import type { UplinkConfig } from "../../src/control/config-types.ts";

export const plainUplink: Omit<UplinkConfig, "name" | "interface"> = {
  order: 0,
  weight: 1,
  tier: 1,
  ipv6: {},
  probe: null,
  passive: true,
  holdDownMs: 0,
  resetAfterMs: 0,
  failback: "keep",
  rate: null,
  cap: null,
  schedule: [],
};
