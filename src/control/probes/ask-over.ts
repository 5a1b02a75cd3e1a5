/** One question over a shared socket: what goes wrong in sending it is its answer. */

import { type DeviceSocket, explainSocketError } from "../../io/device-socket.ts";
import { type Answer, failed, type ProbePath } from "./asker.ts";
import type { Asks } from "./asks.ts";
import type { SharedSocket } from "./shared-socket.ts";

export async function askOver<Key>(
  asks: Asks<Key>,
  key: Key,
  timeoutMs: number,
  socket: SharedSocket,
  path: ProbePath,
  send: (socket: DeviceSocket) => void,
): Promise<Answer> {
  try {
    const open = socket.use();
    // The clock first: the answer of a near target may be there when `send` returns.
    const answer = asks.begin(key, timeoutMs, socket.look);
    send(open);
    return await answer;
  } catch (error) {
    // The socket stays: one target without a route must not cost the others their answers.
    const reason = explainSocketError(error, path.interface);
    asks.fail(key, reason);
    return failed(reason);
  }
}
