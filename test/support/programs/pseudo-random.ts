/**
 * A stream of bytes without a pattern, the same every time: AES-128-CTR over zeros, so that a piece that
 * is lost, repeated or in the wrong place changes the checksum, at gigabytes a second and without a file.
 *
 *     pseudo-random.ts BYTES     writes so many bytes to standard output
 *     pseudo-random.ts sha256    writes the checksum of standard input, as hexadecimal digits
 */

import { createCipheriv, createHash } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const chunkBytes = 256 * 1024;

export function pseudoRandom(bytes: number): Readable {
  return Readable.from(chunks(bytes), { objectMode: false, highWaterMark: 4 * chunkBytes });
}

/** The checksum of `pseudoRandom(bytes)`. */
export function sha256OfPseudoRandom(bytes: number): string {
  const hash = createHash("sha256");
  for (const chunk of chunks(bytes)) hash.update(chunk);
  return hash.digest("hex");
}

function* chunks(bytes: number): Generator<Buffer> {
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, 1), Buffer.alloc(16));
  const zeros = Buffer.alloc(chunkBytes);
  for (let left = bytes; left > 0; left -= chunkBytes)
    yield cipher.update(zeros.subarray(0, Math.min(left, chunkBytes)));
}

if (import.meta.main) {
  const [what] = process.argv.slice(2);
  if (what === "sha256") {
    const hash = createHash("sha256");
    await pipeline(process.stdin, hash);
    console.log(hash.digest("hex"));
  } else await pipeline(pseudoRandom(Number(what)), process.stdout);
}
