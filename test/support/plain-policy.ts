/** How new flows are treated in a test that is about something else. */

import { balanceKey } from "../../src/dataplane/classify.ts";
import { type FlowPolicy, stickyBy } from "../../src/dataplane/flow-policy.ts";

export const plainPolicy: FlowPolicy = {
  balanceKey: balanceKey.fiveTuple,
  rescue: false,
  stickyBy: stickyBy.nothing,
  stickySeconds: 0,
  nearest: false,
  explore: 0,
  rules: null,
};
