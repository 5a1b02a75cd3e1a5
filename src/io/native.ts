/**
 * The native shim, typed: the only file that loads it.
 *
 * Every function throws a `NativeError` when an argument is wrong (code EINVAL, and the message names
 * the argument) or the system call fails. Descriptors are plain numbers; the shim uses only those it
 * opened itself, from whichever thread. An environment's descriptors and loops are closed with it.
 */

import { createRequire } from "node:module";

/** An error of the operating system: `code` is the errno's name, `syscall` what failed. */
export interface NativeError extends Error {
  readonly code: string;
  readonly syscall: string;
}

export interface PacketOptions {
  readonly ifindex: number;
  /** ETH_P_* in host order. */
  readonly protocol: number;
  readonly vnetHeader: boolean;
  readonly ignoreOutgoing: boolean;
  readonly receiveBufferBytes: number;
  readonly sendBufferBytes: number;
  /** `struct sock_filter[]`, attached before the socket can receive. */
  readonly filter: Uint8Array | null;
}

export interface LoopDevice {
  readonly fd: number;
  readonly kind: "tun" | "packet";
  /** Where in a slot a read lands, bytes. */
  readonly readOffset: number;
  /** Byte offset of the device's queue. */
  readonly queueAt: number;
  /** ETH_P_* to name with every packet on a link without a MAC header (with IPv6 packets its own); 0 where the header says it. */
  readonly sendProtocol: number;
}

export interface LoopOptions {
  readonly totalBytes: number;
  readonly slotsAt: number;
  readonly receiveSlots: number;
  readonly sendCapacity: number;
  readonly slotBytes: number;
  readonly eventFd: number;
  readonly devices: readonly LoopDevice[];
}

export type SocketKind = "icmp" | "icmp6" | "arp" | "udp" | "tcp";

export interface DeviceSocketOptions {
  readonly kind: SocketKind;
  readonly ifindex: number;
  /** This machine's address to send from; ignored for arp. */
  readonly address: string | null;
  /** `struct sock_filter[]`: of IPv4 it sees the packet from the IP header on, of IPv6 from the ICMP header, of arp from the ARP header. */
  readonly filter: Uint8Array | null;
}

export interface Datagram {
  readonly bytes: number;
  /** The sender's IP address; "" of arp. */
  readonly from: string;
  /** Of icmp6; else -1. */
  readonly hopLimit: number;
  /** How long it had been waiting to be received. */
  readonly waitedMs: number;
}

/** What a watch waits for. */
export const watchEvents = { readable: 1, writable: 2 } as const;

export interface Native {
  /** Opens one queue of a TUN device, non-blocking. */
  tunOpen(options: { name: string; flags: number; offload: number; vnetHeaderBytes: number }): number;
  /** Lets a program choose the queue of every packet (TUNSETSTEERINGEBPF). The device keeps it: close its descriptor. */
  tunSteer(tunFd: number, programFd: number): void;
  /** Loads `struct bpf_insn[]` as a socket filter. */
  programLoad(instructions: Uint8Array): number;
  /** Opens a raw packet socket, bound to one interface. */
  packetOpen(options: PacketOptions): number;
  /** Joins a fanout group, gives it the program (`struct sock_filter[]`) if there is one, and returns the group's number. */
  packetFanout(fd: number, groupId: number, typeAndFlags: number, program: Uint8Array | null): number;
  /** Puts the new socket under the old one's number. A loop that waits on the old socket meanwhile goes on doing so: signal its event. */
  packetReplace(oldFd: number, newFd: number): void;
  eventOpen(): number;
  /** Ends the wait of a loop that polls this event, or the next one if it does not wait now. */
  eventSignal(fd: number): void;
  /** Closes any descriptor of the shim; EBUSY while a loop uses it. */
  close(fd: number): void;
  /** Binds zeroed memory to devices. The handle is good in this thread only. */
  loopOpen(options: LoopOptions): { memory: ArrayBuffer; handle: number };
  loopClose(handle: number): void;
  /**
   * Sends, waits up to `timeoutMs` (0 to 60,000), receives; returns packets received. A queue entry out of
   * bounds is dropped, counted, and throws (EFAULT, ERANGE) after the others were sent; nothing is received then.
   */
  turn(handle: number, timeoutMs: number): number;
  /** Schedules the calling thread so that it no longer interrupts others when it wakes (sched(7), SCHED_BATCH). */
  scheduleBatch(): void;
  /** Opens a non-blocking socket that sends and receives by one interface only. */
  deviceSocketOpen(options: DeviceSocketOptions): number;
  /** Begins to connect a udp or tcp socket. */
  socketConnect(fd: number, address: string, port: number): void;
  /** Of a tcp socket: the round trip of its handshake in ms, 0 if not measured; null while that goes on. Throws how it failed. */
  socketConnection(fd: number): number | null;
  /** Of an arp socket: the interface's MAC address in hexadecimal with colons; null where it is no Ethernet. */
  socketMac(fd: number): string | null;
  /** The shim forgets a device socket, which stays open. */
  socketDetach(fd: number): void;
  /** Sends one datagram; to null: to where the socket is connected, of an arp socket to all on the link. */
  socketSend(fd: number, bytes: Uint8Array, to: string | null): void;
  /** Receives one datagram, cut off at the length of `room`; null when none is there. */
  socketReceive(fd: number, room: Uint8Array): Datagram | null;
  /**
   * Has the event loop call back whenever the device socket can be read (or written) or has an error, until `watchClose`. The callback
   * must read, or close: what it leaves calls it again. A socket has one watch at most, and is not closed before it.
   */
  watchOpen(fd: number, events: 1 | 2, callback: () => void): void;
  watchClose(fd: number): void;
}

const addon = "../../native-shim/build/sluice_shim.node";

/** The shim. Throws when it has not been built for this machine. */
export function loadNative(): Native {
  try {
    return createRequire(import.meta.url)(addon) as Native;
  } catch (error) {
    throw new Error("the native shim is not built for this machine: run scripts/build-shim", { cause: error });
  }
}

export function isNativeError(error: unknown): error is NativeError {
  return error instanceof Error && "code" in error && "syscall" in error;
}
