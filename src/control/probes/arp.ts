/**
 * Whether a neighbour is there: ARP, and for IPv6 targets neighbour discovery. Only Ethernet has either, and
 * only what is on the uplink's own link answers; of what is behind the gateway this says nothing.
 *
 * Neither has a number that would tell rounds apart. An answer is taken for the youngest question to its target: where
 * answers take longer than an interval, times come out shorter by whole intervals, but none is missed.
 */

import { type DeviceSocket, explainSocketError, openDeviceSocket } from "../../io/device-socket.ts";
import { canonical6, isIpv6 } from "../config-values.ts";
import { askOver } from "./ask-over.ts";
import { type Answer, type Asker, type AskerSettings, failed, type ProbePath, sourceFor } from "./asker.ts";
import { openAsks } from "./asks.ts";
import {
  advertisementFilter,
  arpFilter,
  arpRequest,
  neighbourSolicitation,
  readAdvertisement,
  readArp,
  solicitedNode,
} from "./neighbour-packet.ts";
import { sharedSocket } from "./shared-socket.ts";

interface Question {
  readonly target: string;
}

export function openArpAsker({ path, now }: AskerSettings): Asker {
  const asks = openAsks<Question>(now);
  const common = { interface: path.interface, onError: (reason: string) => asks.failAll(reason) };
  const device = { interface: path.interface, ifindex: path.ifindex };
  const answer = (from: string | null, waitedMs: number) => {
    const question = asks.keys().findLast(({ target }) => target === from);
    if (question !== undefined) asks.answer(question, waitedMs);
  };
  const arpSocket = sharedSocket({
    ...common,
    open: () => openDeviceSocket({ ...device, kind: "arp", address: null, filter: arpFilter() }),
    onDatagram: (bytes, { waitedMs }) => {
      const said = readArp(bytes);
      if (said?.to === path.address) answer(said.from, waitedMs);
    },
  });
  const discovery = sharedSocket({
    ...common,
    open: () => openDeviceSocket({ ...device, kind: "icmp6", address: path.address6, filter: advertisementFilter() }),
    onDatagram: (bytes, { hopLimit, waitedMs }) => answer(readAdvertisement(bytes, hopLimit), waitedMs),
  });

  const ask = (mac: Uint8Array, source: string, target: string, timeoutMs: number): Promise<Answer> => {
    if (!isIpv6(target)) {
      const send = (socket: DeviceSocket) => socket.send(arpRequest(mac, source, target), null);
      return askOver(asks, { target }, timeoutMs, arpSocket, path, send);
    }
    const send = (socket: DeviceSocket) => socket.send(neighbourSolicitation(mac, target), solicitedNode(target));
    return askOver(asks, { target: canonical6(target) }, timeoutMs, discovery, path, send);
  };

  return {
    ask: async (target, timeoutMs) => {
      const source = sourceFor(path, target);
      if (source.reason !== undefined) return failed(source.reason);
      try {
        const mac = arpSocket.use().macAddress();
        if (mac === null) return failed(whyNoMac(path));
        return await ask(mac, source.address, target, timeoutMs);
      } catch (error) {
        return failed(explainSocketError(error, path.interface));
      }
    },
    close: () => {
      asks.failAll("given up");
      arpSocket.close();
      discovery.close();
    },
  };
}

function whyNoMac({ interface: device, linkHeaderBytes }: ProbePath): string {
  return linkHeaderBytes === 0 ? `${device} has no ARP: it is no Ethernet` : `${device} is gone`;
}
