/**
 * Meets another host through two translators' mappings (hole punching, RFC 5128): a rendezvous
 * (rendezvous.ts) tells both how the other looks from outside, and then each talks to that.
 *
 *     punch.ts tcp|udp ROOM COUNT FIRST_PORT RENDEZVOUS_ADDRESS:PORT
 *
 * Does so with COUNT sockets, from FIRST_PORT on, in rooms ROOM-0, ROOM-1, ... By TCP both connect at the same time, from the port
 * that the rendezvous saw. Prints for each socket [{own, peer, heard, from}]: the endpoints as the rendezvous
 * saw them, what the peer said, which is his own endpoint, and whom it came from; null when nothing came.
 */

import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { endpoint } from "./endpoint.ts";

interface Meeting {
  own: string;
  peer: string;
  heard: string | null;
  from: string | null;
}

const [protocol, room, count, firstPort, rendezvous] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
const patienceMs = 12_000;
const repeatMs = 100;

const meetings = Array.from({ length: Number(count) }, (_, i) =>
  protocol === "tcp"
    ? meetByTcp(`${room}-${i}`, Number(firstPort) + i)
    : meetByUdp(`${room}-${i}`, Number(firstPort) + i),
);
console.log(JSON.stringify(await Promise.all(meetings)));
// The others may not have heard everything yet.
await sleep(500);
process.exit();

function meetByUdp(name: string, port: number): Promise<Meeting> {
  const socket = createSocket("udp4").bind(port);
  const meeting: Meeting = { own: "", peer: "", heard: null, from: null };
  const asker = endpoint(rendezvous);
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (meeting.peer === "") socket.send(name, asker.port, asker.address);
      else greet(`hello ${meeting.own}`);
    }, repeatMs);
    const greet = (message: string) => {
      const peer = endpoint(meeting.peer);
      socket.send(message, peer.port, peer.address);
    };
    const end = () => {
      clearInterval(timer);
      resolve(meeting);
    };
    setTimeout(end, patienceMs);
    socket.on("message", (message, from) => {
      const [word, own] = message.toString().split(" ") as [string, string];
      const sender = `${from.address}:${from.port}`;
      if (sender === rendezvous) {
        meeting.own = word;
        meeting.peer = own;
      } else if (word === "hello") greet(`heard ${meeting.own}`);
      else {
        meeting.heard = own;
        meeting.from = sender;
        end();
      }
    });
  });
}

function meetByTcp(name: string, localPort: number): Promise<Meeting> {
  const asker = endpoint(rendezvous);
  return new Promise((resolve) => {
    const question = connect({ host: asker.address, port: asker.port, localPort }, () => question.write(`${name}\n`));
    question.once("data", (data) => {
      const [own, peer] = data.toString().trim().split(" ") as [string, string];
      const meeting: Meeting = { own, peer, heard: null, from: null };
      const { address, port } = endpoint(peer);
      const socket = connect({ host: address, port, localPort }, () => socket.write(`${own}\n`));
      socket.on("data", (text) => {
        resolve({ ...meeting, heard: text.toString().trim(), from: `${socket.remoteAddress}:${socket.remotePort}` });
      });
      socket.on("error", ({ code }: NodeJS.ErrnoException) => resolve({ ...meeting, heard: code! }));
      setTimeout(resolve, patienceMs, meeting);
    });
  });
}
