/** An uplink's state in words and colours. */

import type { UplinkReport } from "../control/report.ts";
import { formatCount, paint, type Style } from "./format.ts";

type ShownState = UplinkReport["state"] | "degraded";

const stateStyle: Record<ShownState, Style> = {
  up: "green",
  degraded: "yellow",
  down: "red",
  draining: "yellow",
  disabled: "dim",
};

/** A degraded uplink is up; but who looks wants to know. */
export function shownState({ state, degraded }: Pick<UplinkReport, "state" | "degraded">): ShownState {
  return state === "up" && degraded ? "degraded" : state;
}

export function styleOfState(uplink: Pick<UplinkReport, "state" | "degraded">): Style {
  return stateStyle[shownState(uplink)];
}

/** One sentence for a person who has just changed it: "isp1 is up, weight 3", "isp1 is draining: 30 flows left". */
export function describeUplink(uplink: UplinkReport): string {
  const state = paint(styleOfState(uplink), shownState(uplink));
  return `${uplink.name} is ${state}${details(uplink)}`;
}

function details({ state, weight, reason, openFlows: flows }: UplinkReport): string {
  switch (state) {
    case "up":
      return `, weight ${weight}${reason === "" ? "" : ` (${reason})`}`;
    case "draining":
      return `: ${formatCount(flows)} flow${flows === 1 ? "" : "s"} left`;
    case "down":
      return reason === "" ? "" : `: ${reason}`;
    case "disabled":
      return "";
  }
}
