/**
 * TUN queues: one a worker, with vnet headers, so that the kernel hands over packets of up to 64 KiB
 * with partial checksums (Linux: Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h).
 */

import { vnetBytes } from "../tables/packet-memory.ts";
import { openOrExplain } from "./device-error.ts";
import { isNativeError, loadNative, type Native } from "./native.ts";
import { steeringProgram } from "./steering-program.ts";

const IFF_TUN = 0x0001;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
/** Fail when the device exists: joining another program's TUN would take its packets. */
const IFF_TUN_EXCL = 0x8000;

const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_USO4 = 0x20;
const TUN_F_USO6 = 0x40;
const offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6;
/** Before Linux 6.2 there is no USO: UDP then comes in datagrams of their own. */
const offloadsWithoutUso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;

/**
 * Creates the TUN device `name` and returns the descriptors of its queues, queue n for worker n. With
 * several, the kernel chooses by `steer` of tables/steering-hash.ts. The device vanishes with its last
 * descriptor. Throws a `DeviceError`, with nothing left open.
 */
export function openTunQueues(name: string, queues: number): number[] {
  const native = loadNative();
  const fds: number[] = [];
  try {
    openOrExplain(`TUN device ${name}`, () => {
      for (let queue = 0; queue < queues; queue++) fds.push(openQueue(native, name, queue === 0));
      if (queues > 1) steerByEndpoint(native, fds);
    });
  } catch (error) {
    for (const fd of fds) native.close(fd);
    throw error;
  }
  return fds;
}

function openQueue(native: Native, name: string, first: boolean): number {
  const flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE | (first ? IFF_TUN_EXCL : 0);
  try {
    return native.tunOpen({ name, flags, offload: offloads, vnetHeaderBytes: vnetBytes });
  } catch (error) {
    if (!isNativeError(error) || error.syscall !== "ioctl TUNSETOFFLOAD" || error.code !== "EINVAL") throw error;
    return native.tunOpen({ name, flags, offload: offloadsWithoutUso, vnetHeaderBytes: vnetBytes });
  }
}

function steerByEndpoint(native: Native, fds: readonly number[]): void {
  const program = native.programLoad(steeringProgram(fds.length));
  try {
    native.tunSteer(fds[0]!, program);
  } finally {
    native.close(program);
  }
}
