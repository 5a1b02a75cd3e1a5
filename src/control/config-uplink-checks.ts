/** How an uplink is watched and used, how new connections are divided, and hooks: what a schema cannot say of each. */

import { checkProbe } from "./config-probe-checks.ts";
import type { ConfigPath } from "./config-problem.ts";
import { checkDuration } from "./config-range.ts";
import type { ConfigReader } from "./config-reader.ts";
import { parseBytes, parseRateBps, parseTimeOfDay } from "./config-values.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

export function checkUplinkUse(reader: ConfigReader): void {
  for (const uplink of reader.entries(["uplinks"])) {
    checkProbe(reader, uplink);
    checkDuration(reader, [...uplink, "holdDown"], 0, hourMs);
    checkDuration(reader, [...uplink, "onDown"], 0, dayMs);
    checkRate(reader, [...uplink, "rate"]);
    checkCap(reader, [...uplink, "cap", "monthly"]);
    for (const window of reader.entries([...uplink, "schedule"])) checkWindow(reader, window);
  }
  checkBalance(reader);
  checkDuration(reader, ["hooks", "timeout"], 100, hourMs);
}

function checkRate(reader: ConfigReader, path: ConfigPath): void {
  for (const each of [path, [...path, "up"], [...path, "down"]])
    if (parseRateBps(reader.text(each) ?? "") === 0)
      reader.error(each, "is nothing", "what the line carries, such as 100M");
}

function checkCap(reader: ConfigReader, path: ConfigPath): void {
  if (parseBytes(reader.text(path) ?? "") === 0)
    reader.error(path, "is nothing", "an amount such as 500GB; an uplink that gets no connections has no place here");
}

function checkWindow(reader: ConfigReader, window: ConfigPath): void {
  const from = parseTimeOfDay(reader.text([...window, "from"]) ?? "");
  if (from !== undefined && from === parseTimeOfDay(reader.text([...window, "to"]) ?? ""))
    reader.error(
      [...window, "to"],
      "is when it begins",
      "another time; 00:00 to 23:59, or the uplink's weight, for all day",
    );
}

function checkBalance(reader: ConfigReader): void {
  const uplinks = reader.entries(["uplinks"]);
  const policy = reader.text(["balance", "policy"]);
  if (uplinks.length === 1 && (policy === "least-busy" || policy === "lowest-latency"))
    reader.warning(["balance", "policy"], "has nothing to choose from: there is one uplink", "two uplinks or more");
  checkDuration(reader, ["balance", "sticky", "timeout"], 1000, 7 * dayMs);
  if (typeof reader.get(["balance", "overflow"]) === "number") checkOverflow(reader, uplinks);
}

function checkOverflow(reader: ConfigReader, uplinks: readonly ConfigPath[]): void {
  const path = ["balance", "overflow"];
  const tiers = uplinks.map((uplink) => reader.get([...uplink, "tier"]));
  if (new Set(tiers).size < 2) {
    reader.warning(path, "has no next tier to use: all uplinks are of one", "a tier on some uplinks");
    return;
  }
  const last = Math.max(...tiers.map(Number));
  const unrated = uplinks.find(
    (uplink, index) => tiers[index] !== last && reader.get([...uplink, "rate"]) === undefined,
  );
  if (unrated !== undefined)
    reader.warning(
      path,
      `is a share of the highest rate seen so far, since uplinks[${unrated[1]}] has no rate`,
      `what that line carries in uplinks[${unrated[1]}].rate`,
    );
}
