/**
 * DNS: a question to port 53 of the target, over UDP, each from a port of its own. Every well-formed answer to it counts, also
 * that there is no such name, but not SERVFAIL and REFUSED: they are what a resolver says that has lost its own way out.
 */

import { decode, encode, type Packet, RECURSION_DESIRED } from "dns-packet";
import { openDeviceSocket } from "../../io/device-socket.ts";
import type { Datagram } from "../../io/native.ts";
import { askOver } from "./ask-over.ts";
import { type Asker, type AskerSettings, failed, sourceFor } from "./asker.ts";
import { type Asks, openAsks } from "./asks.ts";
import { type SharedSocket, sharedSocket } from "./shared-socket.ts";

const dnsPort = 53;

export function openDnsAsker({ path, query, now, randomBytes }: AskerSettings): Asker {
  const asks = openAsks<object>(now);
  return {
    ask: async (target, timeoutMs) => {
      if (!isDnsName(query)) return failed(`${query.slice(0, 80)} is no name in the DNS`);
      const source = sourceFor(path, target);
      if (source.reason !== undefined) return failed(source.reason);
      const [high, low] = randomBytes(2);
      const id = (high! << 8) | low!;
      const key = {};
      const socket: SharedSocket = sharedSocket({
        interface: path.interface,
        open: () => {
          const { interface: device, ifindex } = path;
          const opened = openDeviceSocket({ kind: "udp", interface: device, ifindex, address: source.address });
          opened.connect(target, dnsPort);
          return opened;
        },
        onDatagram: (bytes, datagram) => take(asks, key, bytes, datagram, id, query),
        onError: (reason) => asks.fail(key, reason),
      });
      const answer = await askOver(asks, key, timeoutMs, socket, path, (open) =>
        open.send(dnsQuestion(id, query), null),
      );
      socket.close();
      return answer;
    },
    close: () => asks.failAll("given up"),
  };
}

function take(
  asks: Asks<object>,
  key: object,
  bytes: Uint8Array,
  { waitedMs }: Datagram,
  id: number,
  query: string,
): void {
  const problem = readDnsAnswer(bytes, id, query);
  if (problem === null) asks.answer(key, waitedMs);
  else if (problem !== undefined) asks.fail(key, problem);
}

/** RFC 1035, section 2.3.4, counted without the last dot. */
export function isDnsName(name: string): boolean {
  if (name === ".") return true;
  const labels = plain(name).split(".");
  return plain(name).length <= 253 && labels.every((label) => label !== "" && Buffer.byteLength(label) <= 63);
}

/** The root has no address: of it one asks the name servers. */
function typeOf(query: string): "A" | "NS" {
  return query === "." ? "NS" : "A";
}

export function dnsQuestion(id: number, query: string): Uint8Array {
  return encode({ type: "query", id, flags: RECURSION_DESIRED, questions: [{ type: typeOf(query), name: query }] });
}

/** Null: it counts. A text: why it does not. Undefined: it is no answer to this question, and another one may come. */
export function readDnsAnswer(bytes: Uint8Array, id: number, query: string): string | null | undefined {
  const packet = decodeHead(bytes);
  if (packet === null || packet.type !== "response" || packet.id !== id) return undefined;
  const [question] = packet.questions ?? [];
  if (question === undefined || question.type !== typeOf(query) || plain(question.name) !== plain(query))
    return undefined;
  const { rcode } = packet as Packet & { rcode: string };
  return rcode === "SERVFAIL" || rcode === "REFUSED" ? rcode : null;
}

/** Null when it cannot be read. Records beyond what fits into our room are nobody's concern: only the head and the question are read. */
function decodeHead(bytes: Uint8Array): Packet | null {
  const head = Buffer.from(bytes);
  // Counts of answers, authorities and additional records (RFC 1035, section 4.1.1).
  if (head.length >= 12) head.fill(0, 6, 12);
  try {
    return decode(head);
  } catch {
    return null;
  }
}

function plain(name: string): string {
  return name.toLowerCase().replace(/\.$/, "");
}
