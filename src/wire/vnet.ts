/**
 * struct virtio_net_hdr (Linux include/uapi/linux/virtio_net.h), 10 bytes in host byte order, as a
 * TUN with IFF_VNET_HDR and a packet socket with PACKET_VNET_HDR exchange it. All hosts that run
 * Node are little-endian; `csum_start` and `hdr_len` count from the first byte after this header.
 */
export const vnet = { flags: 0, gsoType: 1, headerLength: 2, gsoSize: 4, checksumStart: 6, checksumOffset: 8 } as const;

/** The layer-4 checksum field holds the pseudo-header sum only; whoever sends the packet finishes it. */
export const needsChecksum = 1;

export const gso = { none: 0, tcpv4: 1, udp: 3, tcpv6: 4, udpL4: 5, ecn: 0x80 } as const;

/** What the header asks for, in one number: the partial checksum in bit 0, the GSO type from bit 8; 0: nothing. */
export function offloadOf(view: DataView, header: number): number {
  return view.getUint16(header, true) & (needsChecksum | 0xff00);
}

export function isPartial(offload: number): boolean {
  return (offload & needsChecksum) !== 0;
}

export function isSuperPacket(offload: number): boolean {
  return offload >>> 8 !== gso.none;
}

/** How many packets a packet with this header stands for, with so many bytes behind its layer-4 header. */
export function segmentsOf(view: DataView, header: number, offload: number, payloadBytes: number): number {
  if (!isSuperPacket(offload)) return 1;
  return Math.ceil(payloadBytes / view.getUint16(header + vnet.gsoSize, true));
}

/**
 * Moves the header of a packet from one link to another: `shift` is the difference in MAC header
 * bytes (+14 towards Ethernet, -14 from it), which `checksumStart` counts. `headerLength` is that of
 * all headers on the new link: what was received there is a hint and can be the whole packet, which
 * the kernel would copy into one piece.
 */
export function moveVnetHeader(
  view: DataView,
  from: number,
  to: number,
  shift: number,
  headerLength: number,
  offload: number,
): void {
  if (offload === 0) {
    clearVnetHeader(view, to);
    return;
  }
  const gsoSize = view.getUint16(from + vnet.gsoSize, true);
  const checksumStart = view.getUint16(from + vnet.checksumStart, true);
  const checksumOffset = view.getUint16(from + vnet.checksumOffset, true);
  view.setUint16(to, offload, true);
  view.setUint16(to + vnet.headerLength, headerLength, true);
  view.setUint16(to + vnet.gsoSize, gsoSize, true);
  view.setUint16(to + vnet.checksumStart, checksumStart + shift, true);
  view.setUint16(to + vnet.checksumOffset, checksumOffset, true);
}

/** The header of a packet that carries no offload. */
export function clearVnetHeader(view: DataView, at: number): void {
  view.setUint32(at, 0);
  view.setUint32(at + 4, 0);
  view.setUint16(at + 8, 0);
}
