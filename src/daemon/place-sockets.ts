/**
 * Keeps the sockets of each place at the interface that is there now. A place whose sockets can't follow counts as down, with the
 * reason, until they can: packets for it would go nowhere. The other places never notice.
 */
import { isVacant } from "../control/uplink-seats.ts";
import type { UplinkSnapshot } from "../control/uplink-snapshot.ts";
import { headerBytes } from "./worker-settings.ts";

export interface PlaceSockets {
  /** Follows the links, and returns them as far as they can be heard. Call it again now and then: what failed is tried again. */
  follow(current: readonly UplinkSnapshot[]): UplinkSnapshot[];
}

/**
 * `opened`: what the sockets are bound to. `reopen` binds those of a place to another link, null to none, and throws when it can't:
 * the old ones stay then, or the new ones are there in part. `onProblem` is told once of each reason.
 */
export function openPlaceSockets(
  opened: readonly UplinkSnapshot[],
  reopen: (place: number, uplink: UplinkSnapshot | null) => void,
  onProblem: (uplink: UplinkSnapshot, reason: string) => void,
): PlaceSockets {
  const bound = [...opened];
  /** Places of which nobody knows what they are bound to. */
  const torn = new Set<number>();
  /** By place. */
  const told = new Map<number, string>();

  function bind(place: number, uplink: UplinkSnapshot): void {
    const before = bound[place]!;
    const isLeft = isVacant(uplink) && (torn.has(place) || !isVacant(before));
    const isOther = uplink.present && (torn.has(place) || keyOf(uplink) !== keyOf(before));
    if (!isLeft && !isOther) return;
    if (!isLeft && headerBytes(uplink) !== headerBytes(before))
      throw new Error("the interface is of another kind than its place was laid out for; restart sluice");
    torn.add(place);
    reopen(place, isLeft ? null : uplink);
    torn.delete(place);
    bound[place] = uplink;
  }

  return {
    follow: (current) =>
      current.map((uplink, place) => {
        try {
          bind(place, uplink);
          told.delete(place);
          return uplink;
        } catch (error) {
          const reason = (error as Error).message;
          if (told.get(place) !== reason) onProblem(uplink, reason);
          told.set(place, reason);
          return { ...uplink, state: "down", reason, ipv6: { ...uplink.ipv6, state: "down", reason } };
        }
      }),
  };
}

/** What the sockets and their filters are made for. */
function keyOf({ ifindex, name, ipv6 }: UplinkSnapshot): string {
  return JSON.stringify([ifindex, name, ipv6.prefix]);
}
