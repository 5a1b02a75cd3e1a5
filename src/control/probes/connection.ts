/** A TCP connection that is made by the uplink, and how its handshake went. */

import { type DeviceSocket, explainSocketError, openDeviceSocket } from "../../io/device-socket.ts";
import { isNativeError } from "../../io/native.ts";
import type { ProbePath } from "./asker.ts";

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface ConnectionEvents {
  /** `rttMs`: of the handshake, 0 when it is not known. */
  onConnected(rttMs: number): void;
  onRefused(): void;
  onFailed(reason: string): void;
}

export interface Connection {
  /** Sends the SYN. Throws what the system says against it. */
  start(): void;
  /** Asks whether it is decided; one of the events is called when it is, and never again. */
  look(): void;
  /** The connected socket's descriptor, which is the caller's from now on. */
  detach(): number;
  close(): void;
}

/** Opens a socket for it. Throws what the system says against that. */
export function openConnection(path: ProbePath, source: string, to: Endpoint, events: ConnectionEvents): Connection {
  let socket: DeviceSocket | null = openDeviceSocket({
    kind: "tcp",
    interface: path.interface,
    ifindex: path.ifindex,
    address: source,
  });
  let isDecided = false;
  const look = () => {
    if (socket === null || isDecided) return;
    try {
      const rttMs = socket.handshakeMs();
      if (rttMs === null) return;
      isDecided = true;
      events.onConnected(rttMs);
    } catch (error) {
      isDecided = true;
      if (isNativeError(error) && error.code === "ECONNREFUSED") events.onRefused();
      else events.onFailed(explainSocketError(error, path.interface));
    }
  };
  return {
    start: () => {
      socket!.connect(to.address, to.port);
      socket!.onWritable(look);
    },
    look,
    detach: () => {
      const fd = socket!.detach();
      socket = null;
      return fd;
    },
    close: () => {
      socket?.close();
      socket = null;
    },
  };
}
