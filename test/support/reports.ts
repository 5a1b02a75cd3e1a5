/** Reports as a daemon would give them, for tests of what serves and shows them. */

import type { ApiHandlers } from "../../src/control/api.ts";
import type { ExplainReport, FlowReport, StatusReport, UplinkReport } from "../../src/control/report.ts";

export function sampleUplink(more: Partial<UplinkReport> = {}): UplinkReport {
  return {
    name: "isp1",
    interface: "wan0",
    address: "203.0.113.2",
    gateway: "203.0.113.1",
    weight: 3,
    tier: 1,
    state: "up",
    degraded: false,
    targetRatio: 0.75,
    reason: "",
    ipv6: { address: null, gateway: null, state: "down", reason: "no address" },
    rttMs: null,
    lossRatio: null,
    jitterMs: null,
    flows: 30,
    openFlows: 30,
    txBytes: 1_500_000,
    rxBytes: 2_340_000_000,
    txPackets: 15_000,
    rxPackets: 1_600_000,
    ...more,
  };
}

/** isp1 with weight 3 and isp2 with weight 1, both up. */
export function sampleStatus(more: Partial<StatusReport> = {}): StatusReport {
  return {
    version: "0.1.0",
    uptimeSeconds: 7_443.5,
    workers: 2,
    io: "shim",
    uplinks: [
      sampleUplink(),
      sampleUplink({
        name: "isp2",
        interface: "wan1",
        address: "198.51.100.2",
        gateway: null,
        weight: 1,
        targetRatio: 0.25,
        flows: 10,
      }),
    ],
    flows: { active: 40, tcp: 33, udp: 7, icmp: 0, other: 0, opened: 123_456 },
    drops: { "no-mapping": 12_345, "bad-checksum": 3 },
    ...more,
  };
}

export function sampleFlow(more: Partial<FlowReport> = {}): FlowReport {
  return {
    protocol: "tcp",
    source: "192.168.10.2",
    sourcePort: 51_234,
    destination: "198.51.100.200",
    destinationPort: 443,
    uplink: "isp1",
    mappedAddress: "203.0.113.2",
    mappedPort: 17_001,
    state: "established",
    ageSeconds: 61.2,
    idleSeconds: 0.4,
    txBytes: 1_234,
    rxBytes: 98_765,
    txPackets: 10,
    rxPackets: 70,
    ...more,
  };
}

/** 192.168.10.2 towards a remote's port 443, which no rule concerns and isp1 gets. */
export function sampleExplain(more: Partial<ExplainReport> = {}): ExplainReport {
  const candidate = { state: "up", reason: "", mayKeep: true } as const;
  return {
    flow: {
      protocol: "tcp",
      source: "192.168.10.2",
      sourcePort: 51_234,
      destination: "198.51.100.200",
      destinationPort: 443,
    },
    existing: null,
    rule: null,
    group: { number: 0, name: "all" },
    key: "five-tuple",
    hash: "5a71c0de",
    policy: "weighted-hash",
    candidates: [
      { ...candidate, name: "isp1", weight: 3, shareRatio: 0.75 },
      { ...candidate, name: "isp2", weight: 1, shareRatio: 0.25 },
    ],
    decidedBy: "table",
    uplink: "isp1",
    why: "the hash leads to isp1",
    notes: [],
    ...more,
  };
}

/** A daemon that answers everything and changes nothing. */
export function sampleHandlers(more: Partial<ApiHandlers> = {}): ApiHandlers {
  const uplink = async (name: string) => sampleStatus().uplinks.find((each) => each.name === name)!;
  return {
    version: "1.2.3",
    status: () => sampleStatus(),
    flows: async ({ limit }) => [sampleFlow()].slice(0, limit),
    drain: async (name) => ({ ...(await uplink(name)), state: "draining" }),
    enable: uplink,
    disable: async (name) => ({ ...(await uplink(name)), state: "disabled", reason: "disabled by hand" }),
    weight: async (name, weight) => ({ ...(await uplink(name)), weight }),
    reload: async () => ({ changed: [], problems: [] }),
    explain: async (flow) => sampleExplain({ flow }),
    ...more,
  };
}
