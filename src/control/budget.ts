/**
 * What a line may cost: the weight that its data cap or its schedule gives it at a moment, and the bytes it has used this month.
 *
 * Months and hours are those of the machine's time zone. A month begins on the day that the provider counts from.
 */

import type { CapConfig, ScheduleWindow, UplinkConfig } from "./config-types.ts";
import type { BudgetWeight } from "./uplink-standing.ts";

/** What an uplink has carried, both ways together, since the first day of the month that counts ("2026-11-01"). */
export interface Usage {
  readonly since: string;
  readonly bytes: number;
}

const mostUplinks = 64;

/** The weight for now, with its reason; null: nothing but the configuration's own. Of a cap and a schedule the lower weight counts. */
export function budgetWeight(
  { cap, schedule }: Pick<UplinkConfig, "cap" | "schedule">,
  usedBytes: number,
  now: Date,
): BudgetWeight | null {
  const found: BudgetWeight[] = [];
  if (cap !== null && capUsed(cap, usedBytes)) found.push({ weight: cap.weight, reason: capReason(cap, now) });
  const window = windowAt(schedule, now);
  if (window !== null) found.push({ weight: window.weight, reason: `schedule ${formatWindow(window)}` });
  return found.sort((a, b) => a.weight - b.weight)[0] ?? null;
}

export function capUsed(cap: CapConfig, usedBytes: number): boolean {
  return usedBytes >= cap.bytes;
}

/** The first window that holds now; null: none. */
export function windowAt(schedule: readonly ScheduleWindow[], now: Date): ScheduleWindow | null {
  const minute = now.getHours() * 60 + now.getMinutes();
  const today = now.getDay();
  const yesterday = (today + 6) % 7;
  const holds = ({ days, fromMinute, toMinute }: ScheduleWindow) => {
    if (fromMinute < toMinute) return days.includes(today) && fromMinute <= minute && minute < toMinute;
    return (days.includes(today) && minute >= fromMinute) || (days.includes(yesterday) && minute < toMinute);
  };
  return schedule.find(holds) ?? null;
}

/** The month that `now` is in: midnights at which it begins and ends. */
export function monthOf(firstDay: number, now: Date): { from: Date; until: Date } {
  const back = now.getDate() < firstDay ? 1 : 0;
  const month = now.getMonth() - back;
  return {
    from: new Date(now.getFullYear(), month, firstDay),
    until: new Date(now.getFullYear(), month + 1, firstDay),
  };
}

/** Counts what the uplinks carry from totals that begin anew with every start of the daemon. */
export class UsageMeter {
  readonly #usage: Map<string, Usage>;
  /** Totals when they were last seen, by uplink. */
  readonly #totals = new Map<string, number>();

  constructor(saved: ReadonlyMap<string, Usage>) {
    this.#usage = new Map(saved);
  }

  /** By uplink; what is to be saved. */
  get usage(): ReadonlyMap<string, Usage> {
    return this.#usage;
  }

  /** What the uplink has used this month, given its ever-growing total of both ways. */
  count(name: string, totalBytes: number, firstDay: number, now: Date): number {
    const last = this.#totals.get(name) ?? totalBytes;
    this.#totals.set(name, totalBytes);
    const carried = totalBytes < last ? totalBytes : totalBytes - last;
    const since = formatDay(monthOf(firstDay, now).from);
    const before = this.#usage.get(name);
    // A clock that is behind, as it is on machines without a battery until they have asked the time, begins no new month.
    const isNewMonth = before === undefined || before.since < since;
    const usage = isNewMonth ? { since, bytes: carried } : { since: before.since, bytes: before.bytes + carried };
    // Last, for the first one in the map to be the one that was not counted for longest.
    this.#usage.delete(name);
    this.#usage.set(name, usage);
    if (this.#usage.size > mostUplinks) this.#forgetFirst();
    return usage.bytes;
  }

  /** Only these are there now: of another, the total that it comes back with is nothing to compare with. Its usage stays. */
  follow(names: readonly string[]): void {
    for (const name of this.#totals.keys()) if (!names.includes(name)) this.#totals.delete(name);
  }

  #forgetFirst(): void {
    const [first] = this.#usage.keys();
    this.#usage.delete(first!);
    this.#totals.delete(first!);
  }
}

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function capReason({ bytes, firstDay }: CapConfig, now: Date): string {
  const { until } = monthOf(firstDay, now);
  return `data cap: ${formatBytes(bytes)} are used, until ${until.getDate()} ${months[until.getMonth()]}`;
}

/** 500 GB, 1.5 TB; as the configuration writes them, in powers of 1000. */
function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
  return `${Number((bytes / 1000 ** power).toPrecision(4))} ${units[power]}`;
}

/** 22:00-06:00. */
function formatWindow({ fromMinute, toMinute }: ScheduleWindow): string {
  return `${formatMinute(fromMinute)}-${formatMinute(toMinute)}`;
}

function formatMinute(minute: number): string {
  return `${twoDigits(Math.floor(minute / 60))}:${twoDigits(minute % 60)}`;
}

function formatDay(day: Date): string {
  return `${day.getFullYear()}-${twoDigits(day.getMonth() + 1)}-${twoDigits(day.getDate())}`;
}

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}
