import { closeSync, readFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { loadNative, type Native } from "../../../src/io/native.ts";

const native = loadNative();
const event = native.eventOpen();
const socket = openSocket();
afterAll(() => {
  native.close(event);
  native.close(socket);
});

function openSocket(): number {
  return native.deviceSocketOpen({ kind: "udp", ifindex: 1, address: "127.0.0.1", filter: null });
}

/** Calls that would be right but for a descriptor, a privilege or an interface; each value of each is replaced in turn. */
const calls: [keyof Native, unknown[]][] = [
  ["tunOpen", [{ name: "sluice0", flags: 0, offload: 0, vnetHeaderBytes: 10 }]],
  ["tunSteer", [event, event]],
  ["programLoad", [new Uint8Array(8)]],
  [
    "packetOpen",
    [
      {
        ifindex: 2 ** 31 - 1,
        protocol: 3,
        vnetHeader: true,
        ignoreOutgoing: true,
        receiveBufferBytes: 0,
        sendBufferBytes: 0,
        filter: new Uint8Array(8),
      },
    ],
  ],
  ["packetFanout", [event, 0, 0, new Uint8Array(8)]],
  ["packetReplace", [event, event]],
  ["eventSignal", [event]],
  ["close", [event]],
  [
    "loopOpen",
    [
      {
        totalBytes: 65536,
        slotsAt: 4096,
        receiveSlots: 1,
        sendCapacity: 1,
        slotBytes: 4096,
        eventFd: event,
        devices: [{ fd: event, kind: "tun", readOffset: 0, queueAt: 0, sendProtocol: 0 }],
      },
    ],
  ],
  ["loopClose", [1]],
  ["turn", [1, 0]],
  ["deviceSocketOpen", [{ kind: "udp", ifindex: 1, address: "192.0.2.1", filter: new Uint8Array(8) }]],
  ["socketConnect", [socket, "127.0.0.1", 7]],
  ["socketConnection", [socket]],
  ["socketMac", [socket]],
  ["socketDetach", [socket]],
  ["socketSend", [socket, new Uint8Array(8), "192.0.2.x"]],
  ["socketReceive", [event, new Uint8Array(8)]],
  ["watchOpen", [event, 1, () => {}]],
  ["watchClose", [socket]],
];

class Getter {
  get length(): number {
    throw new TypeError("from a getter");
  }
}

const wrong = [
  undefined,
  "",
  "1",
  "a name far longer than any interface can have",
  "nul\0inside",
  -1,
  0.5,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  -(2 ** 31),
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  1n,
  Symbol("one"),
  () => 1,
  [],
  [1],
  {},
  new Date(0),
  new Uint8Array(0),
  new Uint8Array(7),
  new Uint8Array(8 * 4097),
  new Uint16Array(8),
  new ArrayBuffer(8),
  new Getter(),
];

/** Every way to put one wrong value into the arguments, at any depth. */
function* spoil(value: unknown, path: string): Generator<[string, unknown]> {
  for (const replacement of wrong) yield [`${path} = ${describeValue(replacement)}`, replacement];
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) {
      for (const [where, spoilt] of spoil(item, `${path}[${i}]`)) yield [where, value.with(i, spoilt)];
    }
  } else if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) {
    for (const [key, item] of Object.entries(value)) {
      for (const [where, spoilt] of spoil(item, `${path}.${key}`)) yield [where, { ...value, [key]: spoilt }];
    }
  }
}

function describeValue(value: unknown): string {
  return typeof value === "object" && value !== null ? value.constructor.name : String(value);
}

function call(name: keyof Native, given: unknown[]): unknown {
  return (native[name] as (...given: unknown[]) => unknown)(...given);
}

describe.each(calls)("%s", (name, good) => {
  test("refuses every wrong value with an error that has a code, a syscall and its name", () => {
    for (const [i, argument] of good.entries()) {
      for (const [where, spoilt] of spoil(argument, `argument ${i}`)) {
        expect(() => call(name, good.with(i, spoilt)), where).toThrow(
          expect.objectContaining({
            code: expect.stringMatching(/^E[A-Z]+$/),
            syscall: expect.any(String),
            message: expect.stringMatching(new RegExp(`^${name}: `)),
          }),
        );
      }
    }
  });

  test("refuses too few arguments", () => {
    expect(() => call(name, [])).toThrow(/expected \d arguments, got 0/);
  });
});

test("an argument that is wrong is named, with what was expected", () => {
  const options = { name: "sluice0", flags: 70_000, offload: 0, vnetHeaderBytes: 10 };
  expect(() => native.tunOpen(options)).toThrow("tunOpen: flags must be a whole number from 0 to 65535, got 70000");
});

test("an exception from a getter passes through as it is", () => {
  const options = {
    get name(): string {
      throw new TypeError("from a getter");
    },
  };
  expect(() => call("tunOpen", [options])).toThrow(new TypeError("from a getter"));
});

test("a getter that detaches the program's bytes leaves nothing to read", () => {
  const filter = new Uint8Array(8);
  const options = {
    ifindex: 2 ** 31 - 1,
    protocol: 3,
    vnetHeader: true,
    ignoreOutgoing: true,
    receiveBufferBytes: 0,
    get sendBufferBytes() {
      structuredClone(filter.buffer, { transfer: [filter.buffer] });
      return 0;
    },
    filter,
  };
  expect(() => call("packetOpen", [options])).toThrow(/filter must hold 1 to 4096 records of 8 bytes, got 0 bytes/);
});

test("descriptors of others are not touched: standard streams, files, sockets, numbers that are not open", () => {
  for (const fd of [0, 1, 2, 3, 4, 5, 999_999]) {
    expect(() => native.close(fd)).toThrow(expect.objectContaining({ code: "EBADF" }));
    expect(() => native.eventSignal(fd)).toThrow(expect.objectContaining({ code: "EBADF" }));
  }
});

test("a second close is refused", () => {
  const fd = native.eventOpen();
  native.close(fd);
  expect(() => native.close(fd)).toThrow(expect.objectContaining({ code: "EBADF" }));
});

test("a number that somebody closed behind our back can be opened and closed again", () => {
  const fd = native.eventOpen();
  closeSync(fd);
  expect(native.eventOpen()).toBe(fd);
  native.close(fd);
  expect(() => native.close(fd)).toThrow(expect.objectContaining({ code: "EBADF" }));
});

test("a descriptor is used only as what it is", () => {
  expect(() => native.packetFanout(event, 0, 0, null)).toThrow(
    `fd must be a packet socket that this shim opened; descriptor ${event} is an event`,
  );
});

test("more descriptors than the registry has room for are refused, and can be closed", () => {
  const fds: number[] = [];
  expect(() => {
    for (;;) fds.push(native.eventOpen());
  }).toThrow(expect.objectContaining({ code: "EMFILE" }));
  expect(fds.length).toBeGreaterThan(500);
  for (const fd of fds) native.close(fd);
});

test("a device socket's further arguments are checked as well", () => {
  expect(() => native.socketReceive(socket, new Uint8Array(0))).toThrow(/^socketReceive: room must hold 1 to 65535/);
  expect(() => native.socketReceive(socket, "" as never)).toThrow("socketReceive: room must be a Uint8Array");
  expect(() => native.socketSend(socket, new Uint8Array(0), null)).toThrow(/^socketSend: bytes must hold 1 to 65535/);
  expect(() => native.watchOpen(socket, 3 as never, () => {})).toThrow("events must be a whole number from 1 to 2");
  expect(() => native.watchOpen(socket, 1, null as never)).toThrow("watchOpen: callback must be a function");
  expect(() => native.deviceSocketOpen({ kind: "icmp6", ifindex: 1, address: "127.0.0.1", filter: null })).toThrow(
    "address must be an IPv6 address, got 127.0.0.1",
  );
});

test("a device socket is watched once, and not closed or given away before its watch", () => {
  native.watchOpen(socket, 1, () => {});
  expect(() => native.watchOpen(socket, 1, () => {})).toThrow(expect.objectContaining({ code: "EBUSY" }));
  expect(() => native.close(socket)).toThrow(expect.objectContaining({ code: "EBUSY" }));
  expect(() => native.socketDetach(socket)).toThrow(expect.objectContaining({ code: "EBUSY" }));
  native.watchClose(socket);
  expect(() => native.watchClose(socket)).toThrow(expect.objectContaining({ code: "EBADF" }));
});

test("a device socket that was given away is no longer the shim's, and open", () => {
  const fd = openSocket();
  native.socketDetach(fd);
  expect(() => native.close(fd)).toThrow(expect.objectContaining({ code: "EBADF" }));
  closeSync(fd);
});

test("device sockets do not take the place of other descriptors", () => {
  const fds: number[] = [];
  expect(() => {
    for (;;) fds.push(openSocket());
  }).toThrow(expect.objectContaining({ code: "EMFILE" }));
  native.close(native.eventOpen());
  for (const fd of fds) native.close(fd);
});

test("a thread that asks for it is scheduled as a batch job", () => {
  const policy = () => readFileSync("/proc/thread-self/stat", "utf8").replace(/.*\) /s, "").split(" ")[38];
  expect(policy()).toBe("0");
  native.scheduleBatch();
  expect(policy(), "SCHED_BATCH").toBe("3");
});
