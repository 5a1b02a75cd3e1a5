/**
 * TCP handshakes: a SYN that is answered by SYN and ACK, or by a reset. Both have come all the way from the target's
 * address, so both prove the path, and a service that is being restarted does not take an uplink down; who wants the service
 * itself to answer asks by http. An ICMP error is no answer.
 *
 * The round trip is the handshake's, as the kernel measured it.
 */

import { explainSocketError } from "../../io/device-socket.ts";
import { splitTarget } from "../config-values.ts";
import { type Asker, type AskerSettings, failed, sourceFor } from "./asker.ts";
import { openAsks } from "./asks.ts";
import { type Endpoint, openConnection } from "./connection.ts";

export function openTcpAsker({ path, now }: AskerSettings): Asker {
  const asks = openAsks<object>(now);
  return {
    ask: async (target, timeoutMs) => {
      const to = endpointOf(target);
      if (to === null) return failed("expected ADDRESS:PORT");
      const source = sourceFor(path, to.address);
      if (source.reason !== undefined) return failed(source.reason);
      const key = {};
      try {
        const connection = openConnection(path, source.address, to, {
          onConnected: (rttMs) => (rttMs > 0 ? asks.answerMeasured(key, rttMs) : asks.answerSeen(key)),
          onRefused: () => asks.answerSeen(key),
          onFailed: (reason) => asks.fail(key, reason),
        });
        const answer = asks.begin(key, timeoutMs, connection.look, connection.close);
        connection.start();
        return await answer;
      } catch (error) {
        const reason = explainSocketError(error, path.interface);
        asks.fail(key, reason);
        return failed(reason);
      }
    },
    close: () => asks.failAll("given up"),
  };
}

/** ADDRESS:PORT or [ADDRESS]:PORT; null when it is neither. */
export function endpointOf(target: string): Endpoint | null {
  const split = splitTarget(target);
  const port = Number(split?.ports);
  return split !== undefined && Number.isInteger(port) && port > 0 && port < 65_536
    ? { address: split.address, port }
    : null;
}
