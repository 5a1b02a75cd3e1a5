/** Which uplink is nearest to a destination, by the handshakes of real connections: a placeholder that remembers nothing. */
export class NearestUplinks {
  readonly onPin: (networkHash: number, slot: number) => void;

  constructor(onPin: (networkHash: number, slot: number) => void) {
    this.onPin = onPin;
  }

  add(_networkHash: number, _slot: number, _rttMs: number, _nowMs: number): void {}
}
