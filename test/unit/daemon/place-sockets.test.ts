/** Sockets that follow the interfaces of their places, one place apart from the other. */
import { beforeEach, expect, test } from "vitest";
import { withSpares } from "../../../src/control/uplink-seats.ts";
import { describeUplink, type UplinkSnapshot } from "../../../src/control/uplink-snapshot.ts";
import { openPlaceSockets } from "../../../src/daemon/place-sockets.ts";
import { configWith } from "../../support/rules.ts";

const [a, b, , spare] = withSpares(configWith("")).uplinks.map((uplink) =>
  describeUplink(uplink, { links: [], defaultRoutes: [], defaultRoutes6: [] }, null),
) as [UplinkSnapshot, UplinkSnapshot, UplinkSnapshot, UplinkSnapshot];

function up(uplink: UplinkSnapshot, ifindex: number, more: Partial<UplinkSnapshot> = {}): UplinkSnapshot {
  return { ...uplink, present: true, ifindex, linkHeaderBytes: 14, state: "up", reason: "", ...more };
}

const opened = [up(a, 1), up(b, 2)];
let failing: string[] = [];
let reopened: string[] = [];
let problems: string[] = [];

function open(bound = opened) {
  return openPlaceSockets(
    bound,
    (place, uplink) => {
      if (failing.includes(uplink?.name ?? "")) throw new Error(`${uplink!.name} is gone`);
      reopened.push(`${place}: ${uplink === null ? "none" : uplink.ifindex}`);
    },
    ({ name }, reason) => problems.push(`${name}: ${reason}`),
  );
}

beforeEach(() => {
  failing = [];
  reopened = [];
  problems = [];
});

test("a link that can't be heard is down, and is tried again until it can; the others are followed all the same", () => {
  const sockets = open();
  const current = [up(a, 11), up(b, 12)];
  failing = ["a"];
  const [first, second] = sockets.follow(current);
  expect(first).toMatchObject({ state: "down", reason: "a is gone", ipv6: { state: "down", reason: "a is gone" } });
  expect(second).toBe(current[1]);
  expect(sockets.follow(current)[0]!.state).toBe("down");
  failing = [];
  expect(sockets.follow(current)).toEqual(current);
  sockets.follow(current);
  expect(reopened).toEqual(["1: 12", "0: 11"]);
  expect(problems, "told once").toEqual(["a: a is gone"]);
});

test("sockets of which nobody knows what they are bound to are opened again, even for the link that they had", () => {
  const sockets = open();
  failing = ["a"];
  sockets.follow([up(a, 11), opened[1]!]);
  failing = [];
  sockets.follow(opened);
  expect(reopened).toEqual(["0: 1"]);
});

test("another kind of link than the place was laid out for is down, and gets no sockets", () => {
  const sockets = open([opened[0]!, spare]);
  const [, ppp] = sockets.follow([opened[0]!, up(b, 2, { linkHeaderBytes: 0 })]);
  expect(ppp).toMatchObject({ state: "down", reason: expect.stringContaining("restart sluice") });
  expect(reopened).toEqual([]);
});

test("a place that is left lets go of its link, and another prefix is another filter", () => {
  const sockets = open();
  const prefix = { words: [1, 2, 3, 4], length: 48 };
  sockets.follow([spare, up(b, 2, { ipv6: { ...b.ipv6, prefix } })]);
  expect(reopened).toEqual(["0: none", "1: 2"]);
});
