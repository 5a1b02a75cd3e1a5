/** A socket that all questions of an asker share: opened for the first one, and again after an error. */

import { type DeviceSocket, explainSocketError } from "../../io/device-socket.ts";
import type { Datagram } from "../../io/native.ts";

export interface SharedSocket {
  /** Throws when it cannot be opened. */
  use(): DeviceSocket;
  /** Reads what is there now. */
  look(): void;
  close(): void;
}

export interface SharedSocketSettings {
  /** For messages. */
  readonly interface: string;
  readonly open: () => DeviceSocket;
  /** The bytes are good during the call only. */
  readonly onDatagram: (bytes: Uint8Array, datagram: Datagram) => void;
  /** The socket had an error and is closed; the next use opens another one. */
  readonly onError: (reason: string) => void;
}

/** Longer datagrams than any answer of ours are cut off. */
const roomBytes = 1024;
/** A flood of them must not keep the thread from its other work: the event loop calls again for the rest. */
const mostAtOnce = 64;

export function sharedSocket({ interface: device, open, onDatagram, onError }: SharedSocketSettings): SharedSocket {
  const room = new Uint8Array(roomBytes);
  let socket: DeviceSocket | null = null;
  const close = () => {
    socket?.close();
    socket = null;
  };
  const look = () => {
    try {
      for (let count = 0; socket !== null && count < mostAtOnce; count++) {
        const datagram = socket.receive(room);
        if (datagram === null) return;
        onDatagram(room.subarray(0, datagram.bytes), datagram);
      }
    } catch (error) {
      const reason = explainSocketError(error, device);
      close();
      onError(reason);
    }
  };
  return {
    use: () => {
      if (socket === null) {
        socket = open();
        socket.onReadable(look);
      }
      return socket;
    },
    look,
    close,
  };
}
