/** Who uses the two uplinks: sluice, the kernel alone, and a script of the kind that most routers run. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { requestJson } from "../../src/control/client.ts";
import type { StatusReport } from "../../src/control/report.ts";
import { type Lab, server, uplinkInterface } from "../../test/support/lab.ts";
import { labConfig, type Sluice } from "../../test/support/sluice.ts";
import type { Contender, RunningContender, Wishes } from "./types.ts";

const probe = {
  type: "icmp",
  targets: [server],
  interval: "200ms",
  timeout: "300ms",
  down: 3,
  up: 3,
  loss: 0.2,
};

export const contenders: readonly Contender[] = [
  sluice("sluice", "sluice, probes", "sluice with a probe of the server every 200 ms, and the traffic watched", {
    probe,
  }),
  sluice(
    "sluice-passive",
    "sluice, no probes",
    "sluice without probes: only the traffic tells that a line is dead",
    {},
  ),
  {
    name: "kernel",
    title: "kernel",
    about:
      "the kernel's multipath route (hash of addresses and ports, `fib_multipath_use_neigh=1`, neighbours asked again after a second instead of up to 45) and nft masquerade; weights are the lines' rates where they differ",
    start: startKernel,
  },
  {
    name: "kernel-equal",
    title: "kernel, equal weights",
    about: "the same, with equal weights whatever the rates",
    start: (lab, { rateMbit: _, ...wishes }) => startKernel(lab, wishes),
  },
  {
    name: "ping-and-mark",
    title: "ping and mark",
    about:
      "a script like mwan3, with better values than its defaults: connections marked at random and kept by connmark, a ping a second by each line, down and up after three",
    start: startPingAndMark,
  },
];

function sluice(name: string, title: string, about: string, uplink: { probe?: object }): Contender {
  return {
    name,
    title,
    about,
    start: async (lab, wishes) => {
      const daemon = await lab.sluice(sluiceConfig(lab, uplink, wishes));
      return {
        states: async () => {
          const { uplinks } = await requestJson<StatusReport>(daemon.socket, "/status");
          return Object.fromEntries(uplinks.map(({ name, state, reason }) => [name, { state, reason }]));
        },
        holdings: () => sluiceHoldings(lab, daemon),
        sluice: daemon,
        stop: async () => {
          const status = await daemon.stop();
          if (status !== 0) throw new Error(`sluice up ended with status ${status}:\n${daemon.output}`);
        },
      };
    },
  };
}

/** The configuration that a scenario's wishes come to; also what a reload starts from. */
export function sluiceConfig(lab: Lab, uplink: { probe?: object }, wishes: Wishes): object {
  const { probe: wishedProbe, ...wished } = (wishes.uplink ?? {}) as { probe?: object };
  const base = labConfig(lab) as { uplinks: { name: string }[] };
  return {
    ...base,
    uplinks: base.uplinks.map((entry) => {
      const mbit = wishes.rateMbit?.[entry.name as "isp1"];
      return {
        ...entry,
        ...wished,
        ...(uplink.probe === undefined ? {} : { probe: { ...uplink.probe, ...wishedProbe } }),
        ...(mbit === undefined ? {} : { rate: `${mbit}M` }),
      };
    }),
    ...(wishes.policy === undefined ? {} : { balance: { policy: wishes.policy } }),
    ...(wishes.closedSeconds === undefined ? {} : { nat: { timeouts: { tcpTransitory: `${wishes.closedSeconds}s` } } }),
  };
}

async function sluiceHoldings(lab: Lab, daemon: Sluice): Promise<Record<string, number>> {
  const { flows } = await requestJson<StatusReport>(daemon.socket, "/status");
  const { pid } = await requestJson<{ pid: number }>(daemon.socket, "/version");
  return {
    flows: flows.active,
    "open files": readdirSync(`/proc/${pid}/fd`).length,
    "memory, MiB": Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024),
    ...(await kernelRules(lab)),
  };
}

async function kernelRules(lab: Lab): Promise<Record<string, number>> {
  const lines = async (command: string) =>
    (await lab.exec("router", ["sh", "-c", command])).stdout.trim().split("\n").length;
  return {
    "ip rules and routes": await lines("ip rule; ip route show table all; ip -6 rule"),
    "nft lines": await lines("nft list ruleset"),
  };
}

async function kernelHoldings(lab: Lab): Promise<Record<string, number>> {
  const count = await lab.exec("router", ["cat", "/proc/sys/net/netfilter/nf_conntrack_count"]);
  return { flows: Number(count.stdout), ...(await kernelRules(lab)) };
}

/** The best that it can do: by itself it would be content with a gateway's last answer for up to 45 s. */
function neighbourSettings(lab: Lab): string[] {
  const settings = { base_reachable_time_ms: 1000, delay_first_probe_time: 1, retrans_time_ms: 500 };
  return lab.isps.flatMap((isp) =>
    Object.entries(settings).map(([key, value]) => `net.ipv4.neigh.${uplinkInterface[isp]}.${key}=${value}`),
  );
}

const closedStates = ["time_wait", "close", "last_ack", "fin_wait", "close_wait", "syn_sent", "syn_recv"];

async function startKernel(lab: Lab, { rateMbit, closedSeconds }: Wishes): Promise<RunningContender> {
  await lab.masquerade("on");
  await lab.multipath(rateMbit === undefined ? "1:1" : `${rateMbit.isp1 ?? 1}:${rateMbit.isp2 ?? 1}`);
  await lab.exec("router", ["sysctl", "-qw", "net.ipv4.fib_multipath_use_neigh=1", ...neighbourSettings(lab)]);
  if (closedSeconds !== undefined) {
    const timeouts = closedStates.map((state) => `net.netfilter.nf_conntrack_tcp_timeout_${state}=${closedSeconds}`);
    await lab.exec("router", ["sysctl", "-qw", ...timeouts]);
  }
  return {
    states: async () => null,
    holdings: () => kernelHoldings(lab),
    sluice: null,
    stop: async () => {
      await lab.multipath("off");
      await lab.masquerade("off");
    },
  };
}

const pingAndMark = fileURLToPath(new URL("ping-and-mark.sh", import.meta.url));

async function startPingAndMark(lab: Lab): Promise<RunningContender> {
  const stateFile = join(lab.directory, "ping-and-mark.state");
  const running = lab.spawn("router", [pingAndMark, stateFile, server]);
  const states = async () => {
    const lines = readFileSync(stateFile, "utf8").trim().split("\n");
    return Object.fromEntries(
      lines
        .map((line) => line.split(" ") as [string, string])
        .map(([uplink, state]) => [uplink, { state, reason: "" }]),
    );
  };
  const deadline = Date.now() + 5_000;
  for (;;) {
    try {
      await states();
      break;
    } catch (error) {
      if (running.ended || Date.now() > deadline) throw new Error(`ping-and-mark: ${running.output}`, { cause: error });
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return {
    states,
    holdings: () => kernelHoldings(lab),
    sluice: null,
    stop: async () => {
      const status = await running.stop();
      if (status !== 0) throw new Error(`ping-and-mark ended with status ${status}:\n${running.output}`);
    },
  };
}
