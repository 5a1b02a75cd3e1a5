/** What workers are told while the drop that guards the uplinks' ports is refused: nft itself is in netns/control/firewall.test.ts. */
import { expect, test } from "vitest";
import { UplinkPublisher } from "../../../src/control/uplink-publisher.ts";
import { describeUplink, type UplinkSnapshot } from "../../../src/control/uplink-snapshot.ts";
import { SharedState, uplinkWord, uplinkWords } from "../../../src/tables/shared-state.ts";
import { configWith } from "../../support/rules.ts";

const config = configWith("");
const nothing = config.uplinks.map((uplink) =>
  describeUplink(uplink, { links: [], defaultRoutes: [], defaultRoutes6: [] }, null),
);

/** The uplinks with interfaces of these numbers; 0: it is gone. */
function links(...ifindexes: number[]): UplinkSnapshot[] {
  return nothing.map((uplink, i) => {
    const ifindex = ifindexes[i]!;
    if (ifindex === 0) return uplink;
    return { ...uplink, present: true, ifindex, address: `192.0.2.${ifindex}`, state: "up", reason: "" };
  });
}

function open(refuses: (current: readonly UplinkSnapshot[]) => boolean) {
  const shared = new SharedState();
  const failures: string[] = [];
  const firewall = {
    table: "none",
    refresh: async (_: unknown, current: readonly UplinkSnapshot[]) => {
      if (refuses(current)) throw new Error("nft refuses");
    },
    close: async () => {},
  };
  const publisher = new UplinkPublisher(
    { shared, firewall, wake() {}, onFailure: (reason) => failures.push(reason), secondTryMs: 10 },
    links(1, 2, 3),
  );
  const update = (snapshots: UplinkSnapshot[]) =>
    publisher.update({
      snapshots,
      plan: {
        config,
        standings: snapshots.map(() => ({ state: "up", reason: "", degraded: false, weight: 1 })),
        shares: [],
        groups: [],
      },
      cuts: snapshots.map(() => ({ all: 0, displaced: 0 })),
    });
  const ready = () => nothing.map((_, i) => shared.uplinks[i * uplinkWords + uplinkWord.ready]);
  return { update, ready, failures };
}

test("an interface that is gone again when the drop moves to it costs nothing but itself", async () => {
  const { update, ready, failures } = open((current) => current[0]!.ifindex === 11);
  const overtaken = update(links(11, 2, 3));
  expect(ready()).toEqual([0, 1, 1]);
  await update(links(0, 2, 3));
  await overtaken;
  expect([ready(), failures]).toEqual([[0, 1, 1], []]);
  await update(links(12, 2, 3));
  expect([ready(), failures]).toEqual([[1, 1, 1], []]);
});

test("a drop that is refused for a moment is moved the second time, one that is refused again is a failure", async () => {
  let refusals = 1;
  const { update, ready, failures } = open(() => refusals-- > 0);
  await update(links(11, 2, 3));
  expect([ready(), failures]).toEqual([[1, 1, 1], []]);
  refusals = 2;
  await update(links(12, 2, 3));
  expect([ready(), failures]).toEqual([[0, 1, 1], ["nft refuses"]]);
});
