/**
 * One end of a WebRTC data channel (werift, which speaks ICE, DTLS and SCTP in TypeScript).
 *
 *     call.ts caller|callee ROOM RENDEZVOUS_ADDRESS:PORT STUN_ADDRESS:PORT BYTES
 *
 * Offer and answer go by way of the rendezvous (rendezvous.ts), and after that nothing does. Each end sends so many
 * pseudo-random bytes and prints what it got and between which endpoints: {"sha256": "...", "local": "ADDRESS:PORT
 * TYPE", "remote": "ADDRESS:PORT TYPE"}, where the type is host, srflx or prflx (RFC 8445).
 */

import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { type RTCDataChannel, type RTCIceCandidate, RTCPeerConnection } from "werift";
import { endpoint } from "./endpoint.ts";
import { pseudoRandom } from "./pseudo-random.ts";

const [role, room, rendezvous, stun, bytes] = process.argv.slice(2) as [string, string, string, string, string];
const messageBytes = 16_384;
/** Sending ahead of the network only costs memory. */
const mostBuffered = 256 * 1024;

const connection = new RTCPeerConnection({ iceServers: [{ urls: `stun:${stun}` }], iceUseIpv6: false });
const channel =
  role === "caller" ? offerChannel() : new Promise<RTCDataChannel>((resolve) => connection.onDataChannel.once(resolve));
const signalling = await meet();
if (role === "caller") {
  await connection.setLocalDescription(await connection.createOffer());
  tell(signalling.socket);
  await connection.setRemoteDescription(JSON.parse(await signalling.line()));
} else {
  await connection.setRemoteDescription(JSON.parse(await signalling.line()));
  await connection.setLocalDescription(await connection.createAnswer());
  tell(signalling.socket);
}
const open = await channel;
const [sha256] = await Promise.all([receive(open), send(open)]);
const pair = connection.iceTransports[0]!.getSelectedCandidatePair()!;
console.log(JSON.stringify({ sha256, local: name(pair.local), remote: name(pair.remote) }));
// What was sent last may have to be sent again.
await sleep(1000);
process.exit();

async function offerChannel(): Promise<RTCDataChannel> {
  const offered = connection.createDataChannel("data");
  await new Promise<void>((resolve) => {
    offered.onopen = resolve;
  });
  return offered;
}

/** The connection to the other end's rendezvous, once the other is there. */
async function meet(): Promise<{ socket: Socket; line: () => Promise<string> }> {
  const { address, port } = endpoint(rendezvous);
  const socket = connect(port, address);
  const lines = createInterface(socket)[Symbol.asyncIterator]();
  await once(socket, "connect");
  socket.write(`${room}\n`);
  await lines.next();
  return { socket, line: async () => (await lines.next()).value ?? "" };
}

/** Description and candidates in one line; setLocalDescription has gathered them. */
function tell(socket: Socket): void {
  socket.write(`${JSON.stringify(connection.localDescription)}\n`);
}

function receive(from: RTCDataChannel): Promise<string> {
  const hash = createHash("sha256");
  let missing = Number(bytes);
  return new Promise((resolve) => {
    from.onMessage.subscribe((message) => {
      hash.update(message);
      missing -= message.length;
      if (missing <= 0) resolve(hash.digest("hex"));
    });
  });
}

async function send(to: RTCDataChannel): Promise<void> {
  for await (const chunk of pseudoRandom(Number(bytes)) as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length; at += messageBytes) {
      while (to.bufferedAmount > mostBuffered) await sleep(5);
      to.send(chunk.subarray(at, at + messageBytes));
    }
  }
}

function name({ candidate }: RTCIceCandidate): string {
  const [, , , , address, port, , type] = candidate.split(" ");
  return `${address}:${port} ${type}`;
}
