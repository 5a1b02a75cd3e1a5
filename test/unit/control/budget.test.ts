import { describe, expect, it } from "vitest";
import { budgetWeight, monthOf, UsageMeter, windowAt } from "../../../src/control/budget.ts";
import type { CapConfig, ScheduleWindow } from "../../../src/control/config-types.ts";

const everyDay = [0, 1, 2, 3, 4, 5, 6];
const cap: CapConfig = { bytes: 500e9, firstDay: 1, weight: 0 };

/** Local time; 2026-11-20 is a Friday. */
function at(text: string): Date {
  const [year, month, day, hour, minute] = text.split(/\D/).map(Number);
  return new Date(year!, month! - 1, day, hour, minute);
}

function window(from: string, to: string, changes: Partial<ScheduleWindow> = {}): ScheduleWindow {
  const minuteOf = (text: string) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3));
  return { days: everyDay, fromMinute: minuteOf(from), toMinute: minuteOf(to), weight: 0, ...changes };
}

describe("a month", () => {
  it.each([
    [1, "2026-11-20 12:00", "2026-11-01 00:00", "2026-12-01 00:00"],
    [1, "2026-12-31 23:59", "2026-12-01 00:00", "2027-01-01 00:00"],
    [28, "2026-11-27 23:59", "2026-10-28 00:00", "2026-11-28 00:00"],
    [28, "2026-11-28 00:00", "2026-11-28 00:00", "2026-12-28 00:00"],
    [15, "2027-01-14 08:00", "2026-12-15 00:00", "2027-01-15 00:00"],
  ])("that begins on day %i holds %s from %s until %s", (firstDay, now, from, until) => {
    expect(monthOf(firstDay, at(now))).toEqual({ from: at(from), until: at(until) });
  });
});

describe("a schedule", () => {
  it.each([
    ["08:00", "18:00", "07:59", false],
    ["08:00", "18:00", "08:00", true],
    ["08:00", "18:00", "17:59", true],
    ["08:00", "18:00", "18:00", false],
    ["22:00", "06:00", "21:59", false],
    ["22:00", "06:00", "22:00", true],
    ["22:00", "06:00", "05:59", true],
    ["22:00", "06:00", "06:00", false],
    ["00:00", "00:00", "12:00", true],
  ])("from %s to %s at %s: %s", (from, to, time, expected) => {
    expect(windowAt([window(from, to)], at(`2026-11-20 ${time}`)) !== null).toBe(expected);
  });

  it("has the days on which a window begins, also when it ends on the next", () => {
    const fridayNight = window("22:00", "06:00", { days: [5] });
    const held = ["2026-11-20 05:00", "2026-11-20 23:00", "2026-11-21 05:00", "2026-11-21 23:00"].map(
      (time) => windowAt([fridayNight], at(time)) !== null,
    );
    expect(held).toEqual([false, true, true, false]);
  });

  it("is that of the first window that fits", () => {
    const first = window("08:00", "12:00", { weight: 3 });
    const second = window("00:00", "20:00", { weight: 5 });
    expect(windowAt([first, second], at("2026-11-20 09:00"))).toBe(first);
    expect(windowAt([first, second], at("2026-11-20 13:00"))).toBe(second);
  });
});

describe("the budget", () => {
  const now = at("2026-11-20 23:30");

  it("says nothing while the cap is not used up and no window holds", () => {
    expect(budgetWeight({ cap, schedule: [window("08:00", "18:00")] }, 500e9 - 1, now)).toBeNull();
    expect(budgetWeight({ cap: null, schedule: [] }, 1e15, now)).toBeNull();
  });

  it("is the cap's weight once it is used up, until the month is over", () => {
    expect(budgetWeight({ cap, schedule: [] }, 500e9, now)).toEqual({
      weight: 0,
      reason: "data cap: 500 GB are used, until 1 Dec",
    });
    const small = { bytes: 1.5e12, firstDay: 15, weight: 2 };
    expect(budgetWeight({ cap: small, schedule: [] }, 2e12, now)).toEqual({
      weight: 2,
      reason: "data cap: 1.5 TB are used, until 15 Dec",
    });
  });

  it("is the window's weight while one holds", () => {
    expect(budgetWeight({ cap, schedule: [window("22:00", "06:00", { weight: 7 })] }, 0, now)).toEqual({
      weight: 7,
      reason: "schedule 22:00-06:00",
    });
  });

  it("is the lower of the two weights", () => {
    const schedule = [window("22:00", "06:00", { weight: 7 })];
    expect(budgetWeight({ cap, schedule }, 500e9, now)?.weight).toBe(0);
    expect(budgetWeight({ cap: { ...cap, weight: 9 }, schedule }, 500e9, now)?.weight).toBe(7);
  });
});

describe("usage", () => {
  const november = at("2026-11-20 12:00");

  it("adds up what the totals grow by, from what was saved on", () => {
    const meter = new UsageMeter(new Map([["isp1", { since: "2026-11-01", bytes: 1000 }]]));
    expect(meter.count("isp1", 50, 1, november)).toBe(1000);
    expect(meter.count("isp1", 80, 1, november)).toBe(1030);
    expect(meter.count("isp2", 500, 1, november)).toBe(0);
    expect(meter.count("isp2", 501, 1, november)).toBe(1);
    expect(Object.fromEntries(meter.usage)).toEqual({
      isp1: { since: "2026-11-01", bytes: 1030 },
      isp2: { since: "2026-11-01", bytes: 1 },
    });
  });

  it("goes on when a total begins anew", () => {
    const meter = new UsageMeter(new Map());
    meter.count("isp1", 0, 1, november);
    meter.count("isp1", 100, 1, november);
    expect(meter.count("isp1", 30, 1, november)).toBe(130);
  });

  it("holds nothing against an uplink that others have carried in its place while it was away", () => {
    const meter = new UsageMeter(new Map());
    meter.count("isp1", 0, 1, november);
    meter.count("isp1", 100, 1, november);
    meter.follow(["isp2"]);
    meter.follow(["isp1", "isp2"]);
    expect(meter.count("isp1", 5000, 1, november)).toBe(100);
    expect(meter.count("isp1", 5001, 1, november)).toBe(101);
  });

  it("begins anew with each month", () => {
    const meter = new UsageMeter(new Map([["isp1", { since: "2026-10-15", bytes: 1000 }]]));
    meter.count("isp1", 0, 15, at("2026-11-14 23:59"));
    expect(meter.count("isp1", 10, 15, at("2026-11-14 23:59"))).toBe(1010);
    expect(meter.count("isp1", 30, 15, at("2026-11-15 00:00"))).toBe(20);
    expect(meter.usage.get("isp1")).toEqual({ since: "2026-11-15", bytes: 20 });
  });

  it("is not lost while the clock is behind", () => {
    const meter = new UsageMeter(new Map([["isp1", { since: "2026-11-01", bytes: 1000 }]]));
    meter.count("isp1", 0, 1, at("1970-01-01 00:10"));
    expect(meter.count("isp1", 5, 1, at("1970-01-01 00:11"))).toBe(1005);
    expect(meter.count("isp1", 6, 1, november)).toBe(1006);
  });

  it("is kept for 64 uplinks, the one counted last before all", () => {
    const meter = new UsageMeter(new Map());
    for (let n = 0; n < 100; n++) meter.count(`isp${n}`, 0, 1, november);
    expect(meter.usage.size).toBe(64);
    expect(meter.usage.has("isp99")).toBe(true);
    expect(meter.usage.has("isp35")).toBe(false);
  });
});
