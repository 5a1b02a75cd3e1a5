/** A forwarder between in-memory devices, with one client's packets written straight into the slots: the rig of the micro-benchmarks. */

import { FlowMemory, flowMemoryBytes } from "../../src/dataplane/flow-memory.ts";
import { Forwarder } from "../../src/dataplane/forwarder.ts";
import { flowWord, flowWords } from "../../src/tables/flow-table.ts";
import { writeInsideNetworks } from "../../src/tables/inside-networks.ts";
import {
  DeviceQueues,
  ethernetBytes,
  ipOffset,
  layoutMemory,
  type PacketIO,
  queueWords,
  slotBytes,
  vnetBytes,
} from "../../src/tables/packet-memory.ts";
import { SharedState, uplinkWord } from "../../src/tables/shared-state.ts";
import { dontFragment, ipv4, parseAddress, protocolUdp, setHeaderChecksum } from "../../src/wire/ipv4.ts";
import { plainForwarder } from "../../test/support/plain-forwarder.ts";

const batch = 32;
const mapped = parseAddress("203.0.113.2")!;
const remote = parseAddress("192.0.2.10")!;
const inside = parseAddress("192.168.0.0")!;
const packetBytes = 92;
/** IP header and ports. */
const headerWords = 6;
const recordedTurns = 8192;

export interface BenchPath {
  forwarder: Forwarder;
  shared: SharedState;
  /** Opens every flow by its first packet, and answers it. */
  openAll(): void;
  /** Replays this many packets of random flows, turns of 32 outbound and 32 inbound; without `forward`, only puts them into the slots. */
  run(packets: number, forward: boolean): void;
}

export function openBenchPath(flows: number): BenchPath {
  const shared = new SharedState();
  shared.lookups[0]!.fill(0);
  shared.masks.fill(-1);
  shared.updateUplinks((words) => {
    words[uplinkWord.ready] = 1;
    words[uplinkWord.address] = mapped;
    words[uplinkWord.mtu] = 1500;
  });
  writeInsideNetworks(shared.inside, [{ words: [inside], prefixLength: 8 }]);
  const io = new SlotIO();
  let nowMs = 0;
  const forwarder = new Forwarder({
    io,
    shared,
    ...plainForwarder,
    uplinks: 1,
    flows,
    flowsPerHost: flows,
    firstPort: 1024,
    lastPort: 65_535,
    key0: 1,
    key1: 2,
    memory: new FlowMemory(new SharedArrayBuffer(flowMemoryBytes(1)), 1),
    random: Math.random,
    mailboxes: null,
    wake: () => {},
    clock: () => nowMs,
  });

  // One inside endpoint for every 32 flows: a million UDP flows do not fit 64,512 ports otherwise.
  const writeOut = (slot: number, flow: number) => {
    const endpoint = flow >>> 5;
    io.write(0, slot, inside + (endpoint >>> 10), remote + (flow & 31), ((1024 + (endpoint & 1023)) << 16) | 443);
  };
  const writeIn = (slot: number, flow: number) => {
    const row = (flow + 1) * flowWords;
    const { words } = forwarder.conntrack.flows;
    const ports = (words[row + flowWord.ports]! << 16) | (words[row + flowWord.outside]! >>> 16);
    io.write(1, slot, words[row + flowWord.remote]!, words[row + flowWord.mapped]!, ports);
  };
  let recorded: Int32Array = new Int32Array(0);
  return {
    forwarder,
    shared,
    openAll() {
      for (let flow = 0; flow < flows; flow += batch) {
        const count = Math.min(batch, flows - flow);
        for (let slot = 0; slot < count; slot++) writeOut(slot, flow + slot);
        io.fill(count, 0);
        forwarder.breath(0);
        // Flows that nobody answers give way when they are many.
        for (let slot = 0; slot < count; slot++) writeIn(slot, flow + slot);
        io.fill(0, count);
        forwarder.breath(0);
      }
      recorded = io.record((slot) => {
        writeOut(slot, Math.floor(Math.random() * flows));
        writeIn(slot, Math.floor(Math.random() * flows));
      });
    },
    run(packets, forward) {
      let at = 0;
      for (let done = 0; done < packets; done += 2 * batch) {
        at = io.replay(recorded, at);
        if (!forward) continue;
        nowMs = done / 1e4;
        io.fill(batch, batch);
        forwarder.breath(0);
      }
    },
  };
}

/** Slots that are written in place, so that the rig costs as little as it can. What is sent is thrown away. */
class SlotIO implements PacketIO {
  readonly layout = layoutMemory(2, batch, 4);
  readonly memory = new ArrayBuffer(this.layout.totalBytes);
  readonly devices = [
    new DeviceQueues(this.memory, this.layout, 0, 0),
    new DeviceQueues(this.memory, this.layout, 1, ethernetBytes),
  ];
  readonly #view = new DataView(this.memory);
  readonly #words = new Int32Array(this.memory);

  constructor() {
    for (const device of this.devices) {
      for (let slot = 0; slot < batch; slot++) {
        const at = device.firstSlotAt + slot * slotBytes + ipOffset;
        this.#view.setUint8(at, 0x45);
        this.#view.setUint16(at + ipv4.totalLength, packetBytes);
        // DF, as nearly all traffic has it; without, each packet would get another identification than it is replayed with.
        this.#view.setUint16(at + ipv4.fragment, dontFragment);
        this.#view.setUint8(at + ipv4.ttl, 64);
        this.#view.setUint8(at + ipv4.protocol, protocolUdp);
        this.#view.setUint16(at + 24, packetBytes - 20);
        device.receiveLength[slot] = vnetBytes + device.linkBytes + packetBytes;
      }
    }
  }

  write(device: number, slot: number, source: number, destination: number, ports: number): void {
    const at = this.devices[device]!.firstSlotAt + slot * slotBytes + ipOffset;
    this.#view.setInt32(at + ipv4.source, source);
    this.#view.setInt32(at + ipv4.destination, destination);
    this.#view.setInt32(at + 20, ports);
    setHeaderChecksum(this.#view, at);
  }

  /** The headers of many turns of packets, as `make` writes them into slot after slot of both devices. */
  record(make: (slot: number) => void): Int32Array {
    const recorded = new Int32Array(recordedTurns * batch * 2 * headerWords);
    for (let at = 0; at < recorded.length; ) {
      for (let slot = 0; slot < batch; slot++) {
        make(slot);
        for (const device of this.devices) {
          const from = (device.firstSlotAt + slot * slotBytes + ipOffset) / 4;
          recorded.set(this.#words.subarray(from, from + headerWords), at);
          at += headerWords;
        }
      }
    }
    return recorded;
  }

  /** Puts the next turn of recorded headers into the slots and returns where the one after begins. */
  replay(recorded: Int32Array, from: number): number {
    const words = this.#words;
    let at = from;
    for (let slot = 0; slot < batch; slot++) {
      for (let device = 0; device < 2; device++) {
        const to = (this.devices[device]!.firstSlotAt + slot * slotBytes + ipOffset) >>> 2;
        words[to + 2] = recorded[at + 2]!;
        words[to + 3] = recorded[at + 3]!;
        words[to + 4] = recorded[at + 4]!;
        words[to + 5] = recorded[at + 5]!;
        at += headerWords;
      }
    }
    return at === recorded.length ? 0 : at;
  }

  fill(out: number, back: number): void {
    this.devices[0]!.counts[queueWords.receiveCount] = out;
    this.devices[1]!.counts[queueWords.receiveCount] = back;
  }

  turn(): number {
    let received = 0;
    for (const device of this.devices) {
      device.counts[queueWords.sendCount] = 0;
      received += device.counts[queueWords.receiveCount]!;
    }
    return received;
  }

  close(): void {}
}
