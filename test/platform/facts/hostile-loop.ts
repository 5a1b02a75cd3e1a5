/**
 * Nothing that JavaScript writes into a loop's memory, or does to the memory, makes the shim touch a
 * byte it should not: a wrong entry is dropped, counted and reported, a loop whose memory is gone
 * refuses to turn.
 *
 *     right ──wire── left, and a TUN
 */

import assert from "node:assert/strict";
import { isNativeError, loadNative } from "../../../src/io/native.ts";
import { openPacketLoop } from "../../../src/io/packet-loop.ts";
import { openSockets } from "../../../src/io/packet-socket.ts";
import { openTunQueues } from "../../../src/io/tun.ts";
import { type PacketIO, queueWords } from "../../../src/tables/packet-memory.ts";
import { enterOwnNetwork, ip, makeWire } from "../../support/own-network.ts";
import { frame, ipv4, randomFrom, UDP, udp } from "../../support/raw-packet.ts";

const receiveSlots = 4;
const [EFAULT, ERANGE, EMSGSIZE] = [14, 34, 90];

enterOwnNetwork();
const native = loadNative();
const [left, right] = makeWire("left", "right");
const [tunFd] = openTunQueues("sluice0", 1);
ip("link set sluice0 up");
const [leftFd, rightFd] = [left, right].map(({ name, ifindex }) => {
  const range = { firstPort: 16384, lastPort: 32767 };
  return openSockets({
    interface: name,
    ifindex,
    linkHeaderBytes: 14,
    ...range,
    workers: 1,
    forwards: [],
    destinations: null,
  })[0]!;
});
const eventFd = native.eventOpen();
const good = frame(left, right, ipv4({ source: 1, destination: 2, protocol: UDP, payload: udp(53, 20000) }));

checkBadEntries();
checkRandomQueues();
checkTruncation();
checkBadLayouts();
checkHolding();
checkMemoryGone();
checkClosed();
checkManyLoops();

function open(): PacketIO {
  return openPacketLoop({
    tunFd: tunFd!,
    links: [leftFd!, rightFd!].map((fd) => ({ fd, linkHeaderBytes: 14 })),
    eventFd,
    receiveSlots,
    scratchSlots: 2,
  });
}

function throwsCode(code: string, message: RegExp, run: () => unknown): void {
  assert.throws(run, (error) => isNativeError(error) && error.code === code && message.test(error.message));
}

/** Entries out of bounds, each beside a good one that must still go. */
function checkBadEntries(): void {
  const io = open();
  const { slotsAt, totalBytes, sendCapacity } = io.layout;
  const { counts, sendStart, sendLength } = io.devices[1]!;
  const goodAt = io.devices[1]!.firstSlotAt;
  const bad = [
    [-1, 10],
    [0, 10],
    [slotsAt - 1, 10],
    [slotsAt, totalBytes - slotsAt + 1],
    [totalBytes - 1, 2],
    [totalBytes, 1],
    [2 ** 31 - 1, 2 ** 31 - 1],
    [-(2 ** 31), 2 ** 31 - 1],
    [slotsAt, -1],
    [slotsAt, -(2 ** 31)],
  ] as const;
  for (const [start, length] of bad) {
    const dropped = counts[queueWords.dropped]!;
    new Uint8Array(io.memory).set(good, goodAt);
    [sendStart[0], sendLength[0], sendStart[1], sendLength[1]] = [start, length, goodAt, good.length];
    counts[queueWords.sendCount] = 2;
    throwsCode("EFAULT", /device 1, send entry 0: start -?\d+ and length -?\d+ must lie within/, () => io.turn(0));
    assert.equal(counts[queueWords.dropped], dropped + 1);
    assert.equal(counts[queueWords.lastErrno], EFAULT);
    assert.equal(io.turn(100), 1, "the good packet went, and the next turn is clean");
    assert.equal(io.devices[2]!.receiveLength[0], good.length);
  }
  for (const count of [-1, -(2 ** 31), sendCapacity + 1, 2 ** 31 - 1]) {
    counts[queueWords.sendCount] = count;
    throwsCode("ERANGE", /sendCount must be from 0 to/, () => io.turn(0));
    assert.equal(counts[queueWords.lastErrno], ERANGE);
    assert.equal(counts[queueWords.sendCount], 0);
  }
  io.close();
}

/** Random words all over the queues, twenty thousand turns: errors are fine, a crash or a write into another device's area is not. */
function checkRandomQueues(): void {
  const io = open();
  const seed = Date.now() >>> 0;
  const random = randomFrom(seed);
  const words = new Int32Array(io.memory, 0, io.layout.slotsAt / 4);
  const interesting = [
    0,
    1,
    -1,
    io.layout.slotsAt,
    io.layout.totalBytes,
    io.layout.totalBytes - 1,
    2 ** 31 - 1,
    -(2 ** 31),
  ];
  const last = words.length - 1;
  for (let turns = 0; turns < 20_000; turns++) {
    for (let i = 0; i < 20; i++) {
      words[random(last)] = random(2) ? interesting[random(interesting.length)]! : random(2 ** 32) >>> random(32);
    }
    words[last] = 0x5afe;
    try {
      io.turn(0);
    } catch (error) {
      assert.ok(isNativeError(error), `seed ${seed}`);
      assert.match(error.code, /^(EFAULT|ERANGE)$/, `seed ${seed}`);
    }
    assert.equal(words[last], 0x5afe, `the word between the queues and the slots is untouched, seed ${seed}`);
    for (const { counts } of io.devices) {
      const received = counts[queueWords.receiveCount]!;
      assert.ok(received >= 0 && received <= receiveSlots, `seed ${seed}`);
    }
  }
  io.close();
}

/** Slots far smaller than the packets: what does not fit is dropped, what does fit moves up. */
function checkTruncation(): void {
  const small = { totalBytes: 8192, slotsAt: 4096, receiveSlots, sendCapacity: 4, slotBytes: 128, eventFd };
  const devices = [{ fd: rightFd!, kind: "packet" as const, readOffset: 0, queueAt: 0, sendProtocol: 0 }];
  const { memory, handle } = native.loopOpen({ ...small, devices });
  while (native.turn(handle, 20) > 0) {}
  const tooLong = frame(
    left,
    right,
    ipv4({ source: 1, destination: 2, protocol: UDP, payload: udp(53, 20000, new Uint8Array(200)) }),
  );
  const packets = [tooLong, good, tooLong, good];
  const droppedBefore = new Int32Array(memory)[queueWords.dropped]!;
  const sender = native.loopOpen({ ...small, totalBytes: 65536, devices: [{ ...devices[0]!, fd: leftFd! }] });
  const words = new Int32Array(sender.memory);
  words[queueWords.sendCount] = packets.length;
  for (const [i, packet] of packets.entries()) {
    new Uint8Array(sender.memory).set(packet, 4096 + i * 1024);
    words[queueWords.receiveLength + receiveSlots + i] = 4096 + i * 1024;
    words[queueWords.receiveLength + receiveSlots + 4 + i] = packet.length;
  }
  native.turn(sender.handle, 0);
  assert.equal(native.turn(handle, 1000), 2);
  const received = new Int32Array(memory);
  const queue = [2, 0, droppedBefore + 2, EMSGSIZE, good.length, good.length];
  assert.deepEqual([...received.subarray(0, queue.length)], queue);
  for (const slot of [0, 1]) assert.deepEqual(new Uint8Array(memory, 4096 + slot * 128, good.length), good);
  native.loopClose(handle);
  native.loopClose(sender.handle);
}

function checkBadLayouts(): void {
  const device = { fd: rightFd!, kind: "packet" as const, readOffset: 0, queueAt: 0, sendProtocol: 0 };
  const layout = { totalBytes: 65536, slotsAt: 4096, receiveSlots: 4, sendCapacity: 4, slotBytes: 4096, eventFd };
  const refused: [RegExp, object][] = [
    [/do not fit between/, { totalBytes: 4096 + 4 * 4096 - 1 }],
    [/do not fit between/, { receiveSlots: 1024 }],
    [/queueAt of device 0/, { devices: [{ ...device, queueAt: 2 }] }],
    [/queueAt of device 0/, { devices: [{ ...device, queueAt: 4096 - 4 }] }],
    [/queueAt of device 0/, { devices: [{ ...device, queueAt: 2 ** 31 - 4 }] }],
    [/queues of devices 0 and 1 overlap/, { devices: [device, { ...device, queueAt: 4 }], slotBytes: 1024 }],
    [/kind of device 0/, { devices: [{ ...device, kind: "disk" }] }],
    [/fd of device 0 must be a TUN queue/, { devices: [{ ...device, kind: "tun" }] }],
    [/fd of device 0 must be a packet socket/, { devices: [{ ...device, fd: eventFd }] }],
    [/fd of device 0 must be a packet socket/, { devices: [{ ...device, fd: 0 }] }],
    [/eventFd must be an event/, { eventFd: rightFd }],
    [/devices must be an array/, { devices: [] }],
    [/devices must be an array/, { devices: new Array(33).fill(device) }],
  ];
  for (const [message, change] of refused) {
    assert.throws(() => native.loopOpen({ ...layout, devices: [device], ...change }), message);
  }
  // A refused loop holds nothing: all of these can be closed.
  const [spare] = openTunQueues("spare0", 1);
  const spareDevice = { ...device, fd: spare!, kind: "tun" as const };
  assert.throws(() => native.loopOpen({ ...layout, devices: [spareDevice], eventFd: 0 }), /eventFd must be an event/);
  native.close(spare!);
}

function checkHolding(): void {
  const io = open();
  for (const fd of [tunFd!, leftFd!, eventFd]) throwsCode("EBUSY", /used by a loop/, () => native.close(fd));
  throwsCode("EBUSY", /newFd is used by a loop/, () => native.packetReplace(leftFd!, rightFd!));
  throwsCode("EINVAL", /two different packet sockets/, () => native.packetReplace(leftFd!, leftFd!));
  throwsCode("EBADF", /two different packet sockets/, () => native.packetReplace(leftFd!, tunFd!));
  throwsCode("EBADF", /two different packet sockets/, () => native.packetReplace(0, leftFd!));
  io.close();
}

function checkMemoryGone(): void {
  const ways: ((memory: ArrayBuffer) => unknown)[] = [
    (memory) => memory.transfer(),
    (memory) => memory.transfer(memory.byteLength * 2),
    (memory) => structuredClone(memory, { transfer: [memory] }),
    (memory) => {
      const channel = new MessageChannel();
      channel.port1.postMessage(memory, [memory]);
      channel.port1.close();
    },
  ];
  for (const detach of ways) {
    const io = open();
    detach(io.memory);
    assert.equal(io.memory.byteLength, 0);
    for (let i = 0; i < 3; i++) throwsCode("EFAULT", /memory of loop \d+ was detached/, () => io.turn(0));
    io.close();
  }
  // The loop keeps memory that nobody else refers to, through as many collections as this causes.
  const { handle } = native.loopOpen({
    ...{ totalBytes: 65536, slotsAt: 4096, receiveSlots: 4, sendCapacity: 4, slotBytes: 4096, eventFd },
    devices: [{ fd: rightFd!, kind: "packet", readOffset: 0, queueAt: 0, sendProtocol: 0 }],
  });
  for (let i = 0; i < 200; i++) new ArrayBuffer(8 << 20);
  assert.equal(native.turn(handle, 0), 0);
  native.loopClose(handle);
}

function checkClosed(): void {
  const io = open();
  io.close();
  throwsCode("EBADF", /loop \d+ is not open/, () => io.turn(0));
  throwsCode("EBADF", /loop \d+ is not open/, () => io.close());
  new Uint8Array(io.memory).fill(0xff);
  const next = open();
  throwsCode("EBADF", /loop \d+ is not open/, () => io.turn(0));
  next.close();
}

function checkManyLoops(): void {
  const loops: PacketIO[] = [];
  throwsCode("EMFILE", /64 loops are open/, () => {
    for (;;) loops.push(open());
  });
  assert.equal(loops.length, 64);
  for (const io of loops) io.close();
  open().close();
}
