/**
 * The sockets on the LANs, by which sluice meets what a host inside sends to one of the uplinks' own
 * addresses: the kernel would take that for its own and never route it into the TUN. They follow the
 * uplinks' addresses, and the LAN's interface when it is made again.
 */
import type { Config } from "../control/config-types.ts";
import { type LinkRow, listLinks } from "../control/iproute.ts";
import type { UplinkSnapshot } from "../control/uplink-snapshot.ts";
import { openSockets, reopenSockets } from "../io/packet-socket.ts";
import { lanSocketOptions } from "./worker-settings.ts";

export interface LanSockets {
  /** By worker. */
  readonly fds: readonly number[];
  readonly linkHeaderBytes: number;
  /** Brings the sockets up to date: call it after every change of the uplinks, and now and then without one. */
  follow(uplinks: readonly UplinkSnapshot[]): Promise<void>;
}

/** Opens the sockets of every steered interface. `onOpen` is told of each LAN's descriptors as soon as they are there. */
export async function openLanSockets(
  config: Config,
  uplinks: readonly UplinkSnapshot[],
  onOpen: (fds: readonly number[]) => void,
): Promise<LanSockets[]> {
  const links = await listLinks();
  return config.steer.interfaces.map((name) => {
    const lan = links.find((link) => link.ifname === name);
    if (lan === undefined) throw new Error(`there is no interface ${name}`);
    const fds = openSockets(lanSocketOptions(config, lan, uplinks));
    onOpen(fds);
    return followed(config, lan, uplinks, fds);
  });
}

function followed(
  config: Config,
  lan: LinkRow,
  uplinks: readonly UplinkSnapshot[],
  fds: readonly number[],
): LanSockets {
  let current = key(lan, uplinks);
  return {
    fds,
    linkHeaderBytes: lanSocketOptions(config, lan, uplinks).linkHeaderBytes,
    async follow(now) {
      const link = (await listLinks()).find(({ ifname }) => ifname === lan.ifname);
      // A LAN that is gone has no packets; it is found when it is back.
      if (link === undefined || key(link, now) === current) return;
      reopenSockets(fds, lanSocketOptions(config, link, now));
      current = key(link, now);
    },
  };
}

function key(lan: LinkRow, uplinks: readonly UplinkSnapshot[]): string {
  return [lan.ifindex, ...uplinks.flatMap(({ address, ipv6 }) => [address, ipv6.address])].join(" ");
}
