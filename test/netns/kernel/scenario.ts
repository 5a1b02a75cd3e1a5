/**
 * What is replayed: the capture as it is, then every mutation in the middle of conversations of it. A conversation is
 * replayed anew for each, from a port of its own, so that what one mutation has done does not show in the next one's.
 */

import { ACK, FIN, parse, RST, randomFrom, SYN, TCP, words } from "../../support/packets.ts";
import { type Captured, conversationsOf } from "./capture.ts";
import { mutations } from "./mutations.ts";
import type { Step } from "./plan.ts";
import { datagramOf, flowOf, withInside } from "./rewrite.ts";

interface Said extends Step {
  /** "capture", a mutation's name, or "after" and that. */
  readonly what: string;
  /** The conversation's. */
  readonly protocol: string;
}

export interface Scene extends Said {
  /** Of TCP: whether the inside has sent a SYN on this flow, now or before. */
  readonly isOpened: boolean;
  /** Of TCP: whether a RST was sent on it before. */
  readonly isReset: boolean;
}

/** The longest part of a conversation that is replayed with a mutation in it. */
const longest = 14;
/** In how many conversations each mutation is tried, at a random place. */
const trials = 16;
/** None that the capture has itself. */
const firstPort = 10_000;
const protocolNames: Readonly<Record<number, string>> = { 1: "ICMP", 6: "TCP", 17: "UDP" };
const insideAddress = Uint8Array.of(192, 168, 10, 2);

export function buildScenes(capture: readonly Captured[], seed: number): Scene[] {
  const random = randomFrom(seed);
  const conversations = conversationsOf(capture);
  const scenes: Said[] = datagramsOf(capture).map((each) => sceneOf("capture", each));
  let port = firstPort;
  for (const [name, mutation] of Object.entries(mutations)) {
    let tried = 0;
    for (const { conversation, at } of placesIn(conversations, random)) {
      const datagrams = datagramsOf(conversation.map(({ side, packet }) => movedTo(side, packet, port)));
      const [given, ...more] = datagrams[at]!;
      // Fragments have mutations of their own.
      const isWhole = given !== undefined && more.length === 0;
      const mutant = isWhole ? mutation({ ...given, parsed: parse(given.packet), random }) : undefined;
      if (given === undefined || mutant === undefined) continue;
      scenes.push(...datagrams.slice(0, at).map((each) => sceneOf(`before ${name}`, each)));
      scenes.push({ ...sceneOf(name, [given]), side: mutant.side, packets: mutant.packets.map(hex) });
      scenes.push(...datagrams.slice(at).map((each) => sceneOf(`after ${name}`, each)));
      port++;
      if (++tried === trials + longest) break;
    }
    if (tried === 0) throw new Error(`no packet of the capture can have: ${name}`);
  }
  return followed(scenes);
}

/** Every place of one TCP connection that is there from SYN to FIN, then a random one of each conversation, in random order. */
function placesIn(
  conversations: readonly Captured[][],
  random: () => number,
): { conversation: readonly Captured[]; at: number }[] {
  const whole = conversations.find((each) => each.length <= longest && each.filter(isFin).length === 2);
  if (whole === undefined) throw new Error("the capture has no short TCP connection from SYN to FIN");
  const others = shuffled(conversations, random).map((each) => {
    const conversation = each.slice(0, longest);
    return { conversation, at: Math.floor(random() * datagramsOf(conversation).length) };
  });
  return [...whole.map((_, at) => ({ conversation: whole, at })), ...others];
}

function isFin({ packet }: Captured): boolean {
  const { protocol, flags } = parse(packet);
  return protocol === TCP && (flags & FIN) !== 0;
}

/** Follows the flows over the scenes. */
function followed(scenes: readonly Said[]): Scene[] {
  const opened = new Set<string>();
  const reset = new Set<string>();
  return scenes.map((said) => {
    const packet = new Uint8Array(Buffer.from(said.packets[0]!, "hex"));
    const key = flowOf(packet, said.side)?.key ?? "";
    const flags = packet[9] === TCP ? (packet[(packet[0]! & 15) * 4 + 13] ?? 0) : 0;
    if (said.side === "inside" && (flags & (SYN | ACK | RST | FIN)) === SYN) opened.add(key);
    const scene = { ...said, isOpened: opened.has(key), isReset: reset.has(key) };
    if ((flags & RST) !== 0) reset.add(key);
    return scene;
  });
}

/** The packets of a capture, fragments of one datagram that follow each other together. */
function datagramsOf(captured: readonly Captured[]): Captured[][] {
  const datagrams: Captured[][] = [];
  for (const each of captured) {
    const last = datagrams.at(-1);
    const { moreFragments, offset } = parse(each.packet);
    const isPiece = moreFragments || offset > 0;
    if (isPiece && last && datagramOf(last[0]!.packet) === datagramOf(each.packet)) last.push(each);
    else datagrams.push([each]);
  }
  return datagrams;
}

function sceneOf(what: string, datagram: readonly Captured[]): Said {
  const { side, packet } = datagram[0]!;
  const protocol = protocolNames[packet[9]!] ?? `protocol ${packet[9]}`;
  return { what, side, protocol, packets: datagram.map((each) => hex(each.packet)) };
}

function hex(packet: Uint8Array): string {
  return Buffer.from(packet).toString("hex");
}

function movedTo(side: Captured["side"], packet: Uint8Array, port: number): Captured {
  const flow = flowOf(packet, side);
  return {
    side,
    packet: flow === undefined ? packet : withInside(packet, side, { address: insideAddress, port: words(port) }),
  };
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
