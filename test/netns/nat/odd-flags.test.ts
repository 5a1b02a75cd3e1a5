/**
 * TCP segments that no connection has, made by hping3 on the LAN and outside, in the lab's topology (scripts/lab): each
 * is dropped under its own name (src/dataplane/verdict.ts), none opens a flow, none leaves, and nobody answers.
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requestJson } from "../../../src/control/client.ts";
import type { StatusReport } from "../../../src/control/report.ts";
import { type Lab, openLab, server, uplinkAddress } from "../../support/lab.ts";
import { labConfig, type Sluice } from "../../support/sluice.ts";
import { until } from "../../support/until.ts";

/** No flag, SYN with FIN or RST, a Christmas tree, all flags, FIN alone: no segment of any connection looks like these. */
const impossible = [[], ["-S", "-F"], ["-S", "-R"], ["-F", "-P", "-U"], ["-S", "-A", "-F", "-R", "-P", "-U"], ["-F"]];
/** ACK, RST, SYN with ACK and FIN with ACK: parts of a connection, of none that sluice knows. */
const unheardOf = [["-A"], ["-R"], ["-S", "-A"], ["-F", "-A"]];

describe.each([1, 2])(
  "odd segments, by %i worker(s): each is dropped under its own name, and nobody answers,",
  (workers) => {
    let lab: Lab;
    let sluice: Sluice;
    const status = () => requestJson<StatusReport>(sluice.socket, "/status");

    beforeAll(async () => {
      lab = await openLab({ name: `flags-${workers}` });
      sluice = await lab.sluice(labConfig(lab, { workers }));
      await sluice.waitFor(/is forwarding/);
    });
    afterAll(() => lab.close());

    it.each([
      ["from the LAN", "client1", server, "tcp-no-flow"],
      ["from outside", "server", uplinkAddress.isp1, "unsolicited"],
    ] as const)("%s", async (_, host, to, noFlow) => {
      const before = await status();
      const sniffer = await lab.sniff();
      // By default hping3 takes the loopback device for the server's own, as its address is there.
      const own = host === "server" ? ["-I", "isp1", "-a", server] : [];
      const send = (flags: readonly string[]) =>
        lab.exec(host, ["hping3", "-c", "5", "-i", "u2000", ...own, ...flags, "-p", "20000", to], { mayFail: true });
      const sent = await Promise.all([...impossible, ...unheardOf].map(send));
      for (const { stdout, stderr } of sent)
        expect(stdout + stderr).toMatch(/5 packets transmitted, 0 packets received/);
      const expected = { "tcp-flags": 5 * impossible.length, [noFlow]: 5 * unheardOf.length };
      let after = before;
      await until(`drops of ${JSON.stringify(expected)}`, async () => {
        after = await status();
        return Object.entries(expected).every(([reason, count]) => difference(before, after)[reason] === count);
      });
      expect(difference(before, after)).toEqual(expected);
      expect(after.flows.opened).toBe(before.flows.opened);
      expect(after.uplinks.map(({ txPackets }) => txPackets)).toEqual(before.uplinks.map(({ txPackets }) => txPackets));
      expect(await sniffer.stop()).toEqual([]);
    });
  },
);

/** The drops between two reports, by reason. */
function difference(before: StatusReport, after: StatusReport): Record<string, number> {
  const changes = Object.entries(after.drops).map(
    ([reason, count]) => [reason, count - (before.drops[reason] ?? 0)] as const,
  );
  return Object.fromEntries(changes.filter(([, change]) => change > 0));
}
