/**
 * Sockets of one interface, for the few questions that sluice asks itself: whatever the routes say, they send by that
 * interface or not at all, from the address they were given. They live in the thread's event loop and never block.
 *
 * Opening fails with a `DeviceError`; everything else with a `NativeError`, which `explainSocketError` puts in words.
 */

import { openOrExplain } from "./device-error.ts";
import { type Datagram, isNativeError, loadNative, type SocketKind, watchEvents } from "./native.ts";

export interface DeviceSocketSettings {
  readonly kind: SocketKind;
  readonly interface: string;
  readonly ifindex: number;
  /** This machine's address to send from. Of arp: null. */
  readonly address: string | null;
  /** As the kernel wants it (`assembleClassic`). */
  readonly filter?: Uint8Array;
}

export interface DeviceSocket {
  /** Calls back whenever something can be received, or `receive` would throw. What is not received calls back again. */
  onReadable(callback: () => void): void;
  /** Calls back when a connection is made or has failed. */
  onWritable(callback: () => void): void;
  /** One datagram; to null: to where it is connected, of arp to everybody on the link. */
  send(bytes: Uint8Array, to: string | null): void;
  /** The next datagram, null when there is none. What does not fit into `room` is cut off. */
  receive(room: Uint8Array): Datagram | null;
  connect(address: string, port: number): void;
  /** Of tcp: the handshake's round trip as the kernel measured it, 0 when it did not; null while it goes on. Throws how it failed. */
  handshakeMs(): number | null;
  /** Of arp: the interface's own address; null where it is no Ethernet. */
  macAddress(): Uint8Array | null;
  /** Gives the descriptor away, open as it is; the socket must not be used any more. */
  detach(): number;
  close(): void;
}

/** Opens a socket. Throws a `DeviceError`, with nothing left open. */
export function openDeviceSocket({
  kind,
  interface: name,
  ifindex,
  address,
  filter,
}: DeviceSocketSettings): DeviceSocket {
  const native = loadNative();
  const fd = openOrExplain(`interface ${name}`, () =>
    native.deviceSocketOpen({ kind, ifindex, address, filter: filter ?? null }),
  );
  let isWatched = false;
  const watch = (events: 1 | 2, callback: () => void) => {
    native.watchOpen(fd, events, callback);
    isWatched = true;
  };
  const unwatch = () => {
    if (isWatched) native.watchClose(fd);
    isWatched = false;
  };
  return {
    onReadable: (callback) => watch(watchEvents.readable, callback),
    onWritable: (callback) => watch(watchEvents.writable, callback),
    send: (bytes, to) => native.socketSend(fd, bytes, to),
    receive: (room) => native.socketReceive(fd, room),
    connect: (to, port) => native.socketConnect(fd, to, port),
    handshakeMs: () => native.socketConnection(fd),
    macAddress: () => {
      const text = native.socketMac(fd);
      return text === null ? null : Uint8Array.from(text.split(":"), (byte) => Number.parseInt(byte, 16));
    },
    detach: () => {
      unwatch();
      native.socketDetach(fd);
      return fd;
    },
    close: () => {
      unwatch();
      native.close(fd);
    },
  };
}

/** Why a socket could not be opened, or what it was asked to do failed, in a few words and with the errno's name. Rethrows what is no error of the system. */
export function explainSocketError(error: unknown, device: string): string {
  const cause = error instanceof Error && isNativeError(error.cause) ? error.cause : error;
  if (!isNativeError(cause)) throw error;
  const words = problems[cause.code];
  return words === undefined ? `${cause.syscall}: ${cause.code}` : `${words.replace("DEVICE", device)} (${cause.code})`;
}

const problems: Readonly<Record<string, string>> = {
  EADDRNOTAVAIL: "the address is not on DEVICE",
  EACCES: "not permitted: a firewall, or CAP_NET_RAW is missing",
  EPERM: "not permitted: a firewall, or CAP_NET_RAW is missing",
  ECONNREFUSED: "refused",
  ECONNRESET: "the connection was reset",
  EHOSTUNREACH: "host unreachable",
  EMFILE: "too many probes are waiting for an answer",
  EMSGSIZE: "too long for the path",
  ENETDOWN: "DEVICE is down",
  ENETUNREACH: "no route by DEVICE",
  ENODEV: "DEVICE is gone",
  ENXIO: "DEVICE is gone",
  ENOBUFS: "DEVICE's queue is full",
  ETIMEDOUT: "no answer to the connection",
};
