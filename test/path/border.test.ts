/** What an uplink may not bring: the outside has no business with addresses of the inside (RFC 1918, section 3). */
import { expect, test } from "vitest";
import { echo, icmpError, pattern, SYN, tcp, udp } from "../support/packets.ts";
import { client, Rig, server, uplinkAddresses } from "./rig.ts";

test("what an uplink brings for a private address is dropped, with and without a flow", () => {
  const rig = new Rig();
  const knock = () => [
    udp({ source: `${server}:53`, destination: `${client}:5000`, data: pattern(9) }),
    tcp({ source: `${server}:80`, destination: `${client}:5000`, flags: SYN }),
    echo({ source: server, destination: client, identifier: 5000 }),
    echo({ source: server, destination: client, type: 0, identifier: 5000 }),
    udp({ source: `${server}:53`, destination: "10.1.2.3:16384" }),
    udp({ source: `${server}:53`, destination: "172.16.1.1:16384" }),
  ];
  expect(rig.in(knock())).toHaveLength(0);
  expect(rig.openFlows).toBe(0);

  const left = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }));
  rig.outOne(echo({ source: client, destination: server, identifier: 5000 }));
  expect(rig.in(knock())).toHaveLength(0);
  const error = icmpError({ source: server, destination: client, type: 3, code: 3, quoted: left.bytes });
  expect(rig.in(error)).toHaveLength(0);
  expect(rig.openFlows).toBe(2);
  const answer = udp({ source: `${server}:53`, destination: `${uplinkAddresses[0]}:${left.sourcePort}` });
  expect(rig.in(answer), "what is for the mapping itself comes in").toHaveLength(1);
});
