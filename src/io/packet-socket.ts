/**
 * The packet sockets of an uplink: one a worker, on the whole interface, with vnet headers (Linux:
 * packet(7), net/packet/af_packet.c).
 *
 * They listen to ETH_P_ALL, because that tap runs before the nft ingress chain that keeps the replies
 * from the router's own stack; bound to ETH_P_IP they would see what that chain leaves. With several
 * workers the sockets form a fanout group whose program reads the worker out of the NAT port; a
 * socket's place in the group is the order of joining, so they are opened here, in order, and handed out.
 */

import type { Forward } from "../tables/forwards.ts";
import type { Prefix6 } from "../tables/prefix6.ts";
import { openOrExplain } from "./device-error.ts";
import { fanoutProgram } from "./fanout-program.ts";
import { lanFanoutProgram } from "./lan-fanout-program.ts";
import { loadNative, type Native } from "./native.ts";
import { receiveFilter } from "./receive-filter.ts";

const ETH_P_ALL = 0x0003;
const PACKET_FANOUT_CBPF = 6;
/** The kernel picks a group number that nobody in the namespace uses. */
const PACKET_FANOUT_FLAG_UNIQUEID = 0x2000;
/** Fragments are put together before the program looks at their port. */
const PACKET_FANOUT_FLAG_DEFRAG = 0x8000;

/** Room for bursts of super-packets: half a second at 500 Mbit/s. */
const bufferBytes = 32 << 20;
/** Nobody sends it by the loopback interface (IEEE 802, local experimental EtherType 1). */
const ETH_P_LOCAL_EXPERIMENTAL = 0x88b5;
const vacantBufferBytes = 4096;
/** `lo` in every network namespace (net/core/dev.c). */
const loopbackIndex = 1;

export interface SocketOptions {
  /** For messages. */
  readonly interface: string;
  readonly ifindex: number;
  /** 14, or 0 on a link without a MAC header. */
  readonly linkHeaderBytes: number;
  /** The NAT port range, and what is forwarded: other TCP and UDP packets stay in the kernel. */
  readonly firstPort: number;
  readonly lastPort: number;
  readonly forwards: readonly Forward[];
  readonly workers: number;
  /**
   * Of a LAN: the uplinks' addresses, signed 32-bit. What a host there sends to one of them is ours to
   * turn back. Null on an uplink.
   */
  readonly destinations: readonly number[] | null;
  /** Of a LAN: the same for IPv6, four words each. */
  readonly destinations6?: readonly (readonly number[])[];
  /** The IPv6 prefix that leads here, where the uplink has one. */
  readonly prefix6?: Prefix6;
}

/** Opens the sockets of an uplink or a LAN, the one at index n for worker n. Throws a `DeviceError`, with nothing left open. */
export function openSockets(options: SocketOptions): number[] {
  const native = loadNative();
  const fds: number[] = [];
  try {
    openOrExplain(`interface ${options.interface}`, () => {
      for (let worker = 0; worker < options.workers; worker++) fds.push(openSocket(native, options));
      if (options.workers > 1) fanOut(native, fds, options);
    });
  } catch (error) {
    for (const fd of fds) native.close(fd);
    throw error;
  }
  return fds;
}

/** Sockets that hear nothing, for a place without an uplink: `reopenSockets` gives their numbers to real ones, or back. */
export function openVacantSockets(workers: number): number[] {
  const native = loadNative();
  return Array.from({ length: workers }, () =>
    native.packetOpen({
      ifindex: loopbackIndex,
      protocol: ETH_P_LOCAL_EXPERIMENTAL,
      vnetHeader: true,
      ignoreOutgoing: true,
      receiveBufferBytes: vacantBufferBytes,
      sendBufferBytes: vacantBufferBytes,
      filter: null,
    }),
  );
}

/**
 * Gives the numbers of old sockets to new ones, for an interface that was deleted and made
 * again, or a filter that has changed: the workers' loops go on with the numbers they have. A loop that waits on the old socket
 * wakes at its timeout, or when its event is signalled. The link header must have stayed the same. Null: a place without an uplink from now on.
 */
export function reopenSockets(fds: readonly number[], options: SocketOptions | null): void {
  const native = loadNative();
  const fresh = options === null ? openVacantSockets(fds.length) : openSockets(options);
  for (const [worker, fd] of fds.entries()) native.packetReplace(fd, fresh[worker]!);
}

function openSocket(native: Native, options: SocketOptions): number {
  const { ifindex, linkHeaderBytes } = options;
  return native.packetOpen({
    ifindex,
    protocol: ETH_P_ALL,
    vnetHeader: true,
    ignoreOutgoing: true,
    receiveBufferBytes: bufferBytes,
    sendBufferBytes: bufferBytes,
    filter: receiveFilter({ ...options, ipAt: linkHeaderBytes }),
  });
}

function fanOut(native: Native, fds: readonly number[], { forwards, destinations, prefix6 }: SocketOptions): void {
  const program = destinations === null ? fanoutProgram(fds.length, forwards, prefix6) : lanFanoutProgram(fds.length);
  const type = PACKET_FANOUT_CBPF | PACKET_FANOUT_FLAG_DEFRAG;
  const group = native.packetFanout(fds[0]!, 0, type | PACKET_FANOUT_FLAG_UNIQUEID, program);
  for (const fd of fds.slice(1)) native.packetFanout(fd, group, type, null);
}
