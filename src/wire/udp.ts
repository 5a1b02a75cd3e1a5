/** UDP (RFC 768): offsets. A checksum field of 0 means that there is none. */
export const udp = { sourcePort: 0, destinationPort: 2, length: 4, checksum: 6 } as const;
export const udpHeaderBytes = 8;
