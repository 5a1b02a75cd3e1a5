/** Opens for a moment what `sluice up` will open for good: only the kernel knows what it can do. */

import { loadNative } from "../io/native.ts";
import { openSockets } from "../io/packet-socket.ts";
import { openTunQueues } from "../io/tun.ts";

/** Each function throws, a DeviceError where the system refused. */
export interface NativeProbe {
  /** The shim is built for this machine and this Node. */
  load(): void;
  /** A TUN device with vnet headers, and with several queues the program that chooses among them. */
  openTun(queues: number): void;
  /** Packet sockets with vnet headers, and with several workers their fanout. */
  openPacketSockets(workers: number): void;
}

/** Uses a TUN named after this process, and the loopback interface, which every network namespace has. */
export const nativeProbe: NativeProbe = {
  load: () => void loadNative(),
  openTun: (queues) => closeAll(openTunQueues(`probe-${process.pid}`, queues)),
  openPacketSockets: (workers) =>
    closeAll(
      openSockets({
        interface: "lo",
        ifindex: 1,
        linkHeaderBytes: 14,
        // A port that no packet has, so that nothing is delivered.
        firstPort: 0,
        forwards: [],
        destinations: null,
        lastPort: 0,
        workers,
      }),
    ),
};

function closeAll(fds: readonly number[]): void {
  for (const fd of fds) loadNative().close(fd);
}
