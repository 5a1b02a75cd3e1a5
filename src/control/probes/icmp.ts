/**
 * ICMP echo, of both families: raw sockets on the uplink's interface, one a family, for all targets and rounds. Answers are
 * told apart by sequence number, checked against the target and a cookie, and timed by the kernel.
 *
 * A router that says "unreachable" or "time exceeded" about a question ends it at once.
 */

import { openDeviceSocket } from "../../io/device-socket.ts";
import type { Datagram } from "../../io/native.ts";
import { canonical6, isIpv6 } from "../config-values.ts";
import { askOver } from "./ask-over.ts";
import { type Asker, type AskerSettings, failed, sourceFor } from "./asker.ts";
import { openAsks } from "./asks.ts";
import { cookieBytes, echoFilter, echoRequest, readEcho } from "./echo-packet.ts";
import { type SharedSocket, sharedSocket } from "./shared-socket.ts";

export function openIcmpAsker({ path, identifier, now, randomBytes }: AskerSettings): Asker {
  const asks = openAsks<number>(now);
  const targets = new Map<number, string>();
  const cookie = randomBytes(cookieBytes);
  // At random, since an error quotes no more of a question than identifier and sequence: nobody who has not seen it shall forge one.
  const [high, low] = randomBytes(2);
  let sequence = (high! << 8) | low!;

  const onDatagram = (wantsIpv6: boolean, bytes: Uint8Array, { from, waitedMs }: Datagram) => {
    const said = readEcho(wantsIpv6, identifier, bytes);
    if (said === null) return;
    if (said.kind === "error") return asks.fail(said.sequence, `${said.words}, says ${from}`);
    const isOurs = targets.get(said.sequence) === from && Buffer.compare(said.cookie, cookie) === 0;
    if (isOurs) asks.answer(said.sequence, waitedMs);
  };
  const socketFor = (wantsIpv6: boolean): SharedSocket =>
    sharedSocket({
      interface: path.interface,
      open: () =>
        openDeviceSocket({
          kind: wantsIpv6 ? "icmp6" : "icmp",
          interface: path.interface,
          ifindex: path.ifindex,
          address: wantsIpv6 ? path.address6 : path.address,
          filter: echoFilter(wantsIpv6, identifier),
        }),
      onDatagram: (bytes, datagram) => onDatagram(wantsIpv6, bytes, datagram),
      onError: (reason) => asks.failAll(reason),
    });
  const [socket4, socket6] = [socketFor(false), socketFor(true)];

  return {
    ask: async (target, timeoutMs) => {
      const { reason } = sourceFor(path, target);
      if (reason !== undefined) return failed(reason);
      const wantsIpv6 = isIpv6(target);
      sequence = (sequence + 1) & 0xffff;
      const key = sequence;
      targets.set(key, wantsIpv6 ? canonical6(target) : target);
      const question = echoRequest(wantsIpv6, identifier, key, cookie);
      const socket = wantsIpv6 ? socket6 : socket4;
      const answer = await askOver(asks, key, timeoutMs, socket, path, (open) => open.send(question, target));
      targets.delete(key);
      return answer;
    },
    close: () => {
      asks.failAll("given up");
      socket4.close();
      socket6.close();
    },
  };
}
