/** Whatever comes from outside, the readers of answers say what it is, and never throw. */

import fc from "fast-check";
import { expect, it } from "vitest";
import { dnsQuestion, readDnsAnswer } from "../../../../src/control/probes/dns.ts";
import { readEcho } from "../../../../src/control/probes/echo-packet.ts";
import { judge } from "../../../../src/control/probes/http.ts";
import { readAdvertisement, readArp } from "../../../../src/control/probes/neighbour-packet.ts";

const id = 0x1234;
const question = Buffer.from(dnsQuestion(id, "www.example.com"));
/** Bytes that often begin as an answer does. */
const answers = fc
  .tuple(fc.constantFrom("", "45", "81", "0100", "8800", question.toString("hex")), fc.uint8Array({ maxLength: 120 }))
  .map(([start, rest]) => Uint8Array.from([...Buffer.from(start, "hex"), ...rest]));
/** The question, made an answer, with a few bytes spoilt. */
const spoilt = fc.array(fc.tuple(fc.nat(question.length - 1), fc.nat(255)), { maxLength: 4 }).map((changes) => {
  const bytes = Uint8Array.from(question);
  bytes[2]! |= 0x80;
  for (const [at, value] of changes) bytes[at] = value;
  return bytes;
});

it.each([
  ["an echo of IPv4", (bytes: Uint8Array) => readEcho(false, id, bytes)],
  ["an echo of IPv6", (bytes: Uint8Array) => readEcho(true, id, bytes)],
  ["ARP", readArp],
  ["an advertisement", (bytes: Uint8Array) => readAdvertisement(bytes, 255)],
  ["DNS", (bytes: Uint8Array) => readDnsAnswer(bytes, id, "www.example.com")],
])("%s is read from any bytes", (_, read) => {
  fc.assert(
    fc.property(fc.oneof(answers, spoilt), (bytes) => {
      read(bytes);
    }),
    { numRuns: 3000 },
  );
});

it("an answer of HTTP is judged with any status and any place to go to", () => {
  const location = fc.option(
    fc.oneof(fc.string(), fc.webUrl(), fc.constantFrom("//", "http:", "http://[::1", "\\\\x")),
    {
      nil: undefined,
    },
  );
  fc.assert(
    fc.property(fc.nat(999), location, (status, place) => {
      const said = judge(status, place, "192.0.2.10");
      expect(said === null || said.length < 120).toBe(true);
    }),
    { numRuns: 3000 },
  );
});
