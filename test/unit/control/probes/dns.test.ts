import { type DecodedPacket, decode, encode, type Packet } from "dns-packet";
import { describe, expect, it } from "vitest";
import { dnsQuestion, isDnsName, readDnsAnswer } from "../../../../src/control/probes/dns.ts";

const id = 0x1234;
const query = "www.example.com";
const question = { type: "A", name: query } as const;
const rcodes = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 };

/** An answer to the question, but for what is different. */
function answer(rcode: keyof typeof rcodes, changes: Partial<Packet> = {}): Uint8Array {
  return encode({ type: "response", id, flags: rcodes[rcode], questions: [question], ...changes });
}

describe("a DNS question", () => {
  it("asks for the addresses of a name, and for the name servers of the root", () => {
    const asked = (name: string): DecodedPacket => decode(Buffer.from(dnsQuestion(id, name)));
    expect(asked(query)).toMatchObject({ id, type: "query", flag_rd: true, questions: [question] });
    expect(asked(".").questions).toMatchObject([{ type: "NS", name: "." }]);
  });

  it("is not asked for what is no name", () => {
    for (const name of [".", "example.com", "example.com.", "_x.example", "a".repeat(63)])
      expect(isDnsName(name)).toBe(true);
    for (const name of ["", "..", "a..b", ".a", "a".repeat(64), `${"a".repeat(60)}.`.repeat(5)])
      expect(isDnsName(name), name).toBe(false);
  });
});

describe("a DNS answer", () => {
  it("counts with addresses, without, and when there is no such name", () => {
    const answers = [{ type: "A", name: query, data: "192.0.2.1" } as const];
    expect(readDnsAnswer(answer("NOERROR", { answers }), id, query)).toBeNull();
    expect(readDnsAnswer(answer("NOERROR"), id, query)).toBeNull();
    expect(readDnsAnswer(answer("NXDOMAIN"), id, query)).toBeNull();
    expect(readDnsAnswer(answer("NOERROR", { questions: [{ type: "NS", name: "." }] }), id, ".")).toBeNull();
  });

  it("counts when it is cut off behind the question, as a long one is", () => {
    const answers = Array.from({ length: 60 }, () => ({ type: "A", name: query, data: "192.0.2.1" }) as const);
    expect(readDnsAnswer(answer("NOERROR", { answers }).subarray(0, 200), id, query)).toBeNull();
  });

  it("counts whatever case the name has in it", () => {
    const questions = [{ type: "A", name: "WWW.eXample.com" } as const];
    expect(readDnsAnswer(answer("NOERROR", { questions }), id, "www.example.com.")).toBeNull();
  });

  it("does not count when the resolver failed or refused", () => {
    expect(readDnsAnswer(answer("SERVFAIL"), id, query)).toBe("SERVFAIL");
    expect(readDnsAnswer(answer("REFUSED"), id, query)).toBe("REFUSED");
  });

  it("is none with another id, another question, or when it is a question itself, or garbage", () => {
    expect(readDnsAnswer(answer("NOERROR", { id: 1 }), id, query)).toBeUndefined();
    expect(readDnsAnswer(answer("NOERROR", { questions: [] }), id, query)).toBeUndefined();
    expect(readDnsAnswer(answer("NOERROR", { questions: [{ type: "A", name: "a.test" }] }), id, query)).toBeUndefined();
    expect(readDnsAnswer(dnsQuestion(id, query), id, query)).toBeUndefined();
    const whole = answer("NOERROR");
    for (let length = 0; length < whole.length; length++)
      expect(readDnsAnswer(whole.subarray(0, length), id, query), `${length} bytes`).toBeUndefined();
  });
});
