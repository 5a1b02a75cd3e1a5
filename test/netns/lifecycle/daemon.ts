/** Starting sluice in a lab's router for these tests: small tables, so that a start is quick, and ready means forwarding. */

import { requestJson } from "../../../src/control/client.ts";
import type { FlowReport, StatusReport } from "../../../src/control/report.ts";
import { type Lab, uplinkInterface } from "../../support/lab.ts";
import { labConfig, Sluice, type SluiceOptions } from "../../support/sluice.ts";

/** Every uplink of the lab; `more` replaces whole keys. */
export function smallConfig(lab: Lab, more: object = {}): object {
  return labConfig(lab, { limits: { flows: 65_536 }, ...more });
}

/** The lab's uplinks, against which no fall is held: they get connections again as soon as they are back. */
export function unheldUplinks(lab: Lab, more: object = {}): object[] {
  return lab.isps.map((name) => ({ name, interface: uplinkInterface[name], holdDown: "0s", ...more }));
}

/** Starts `sluice up` and returns when it forwards; throws with its output when it does not get there. */
export async function startSluice(
  lab: Lab,
  config: object,
  options: Omit<SluiceOptions, "config"> = {},
): Promise<Sluice> {
  const sluice = new Sluice(lab, { config, ...options });
  await sluice.waitFor(/sluice is forwarding/, 20_000);
  return sluice;
}

/** What `sluice status --json` would print, without the quarter second that a command takes. */
export function statusOf(sluice: Sluice): Promise<StatusReport> {
  return requestJson(sluice.socket, "/status");
}

/** What `sluice flows --json` would print. */
export function flowsOf(sluice: Sluice): Promise<FlowReport[]> {
  return requestJson(sluice.socket, "/flows");
}

/** Its log so far, one object a line; what is not JSON is left out. */
export function logOf(sluice: Sluice): { level: string; msg: string; [field: string]: unknown }[] {
  const lines = sluice.output.split("\n").filter((line) => line.startsWith("{"));
  return lines.map((line) => JSON.parse(line));
}
