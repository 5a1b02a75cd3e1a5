/** Waits until an uplink has no flow left, and shows how many it has: in place on a terminal, a line a change elsewhere. */

import { requestJson } from "../control/client.ts";
import { formatDurationMs } from "../control/config-values.ts";
import type { StatusReport, UplinkReport } from "../control/report.ts";
import { CliError, exitCode } from "./failure.ts";
import { describeUplink } from "./uplink-words.ts";

const periodMs = 500;
const overwrite = "\r\x1b[K";

/** Throws CliError when the time is over, it gets connections again, or the person interrupts. */
export async function waitUntilEmpty(
  socket: string,
  name: string,
  { asJson, timeoutMs }: { asJson: boolean; timeoutMs: number },
): Promise<void> {
  const show = asJson ? showLine(JSON.stringify) : process.stdout.isTTY ? showInPlace() : showLine(describeUplink);
  const interrupt = listenForInterrupt();
  const deadline = performance.now() + timeoutMs;
  try {
    for (;;) {
      const uplink = await look(socket, name);
      show.change(uplink);
      if (uplink.openFlows === 0) return;
      if (uplink.state === "up") throw failed(`${name} gets connections again: it is no longer draining`);
      const leftMs = deadline - performance.now();
      if (leftMs <= 0)
        throw failed(
          `${name} still has ${uplink.openFlows} flows after ${formatDurationMs(timeoutMs)}; ${goesOn(name)}`,
        );
      await interrupt.orAfter(Math.min(periodMs, leftMs));
      if (interrupt.came()) throw failed(`interrupted; ${goesOn(name)}`);
    }
  } finally {
    show.end();
    interrupt.close();
  }
}

async function look(socket: string, name: string): Promise<UplinkReport> {
  const { uplinks } = await requestJson<StatusReport>(socket, "/status");
  const uplink = uplinks.find((each) => each.name === name);
  if (uplink === undefined) throw failed(`${name} is no longer in the configuration`);
  return uplink;
}

function failed(message: string): CliError {
  return new CliError(exitCode.failed, message);
}

function goesOn(name: string): string {
  return `it stays draining ('sluice uplink enable ${name}' takes it back)`;
}

function showLine(describe: (uplink: UplinkReport) => string) {
  let last = "";
  return {
    change(uplink: UplinkReport): void {
      const now = `${uplink.state} ${uplink.openFlows}`;
      if (now !== last) console.log(describe(uplink));
      last = now;
    },
    end() {},
  };
}

function showInPlace() {
  return {
    change: (uplink: UplinkReport) => void process.stdout.write(overwrite + describeUplink(uplink)),
    end: () => void process.stdout.write("\n"),
  };
}

/** Ctrl-C would leave the shell's prompt behind half a line. */
function listenForInterrupt() {
  let came = false;
  let wake = () => {};
  const onSignal = () => {
    came = true;
    wake();
  };
  process.on("SIGINT", onSignal);
  return {
    came: () => came,
    orAfter: (delayMs: number) =>
      new Promise<void>((resolve) => {
        if (came) return resolve();
        const timer = setTimeout(resolve, delayMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      }),
    close: () => void process.off("SIGINT", onSignal),
  };
}
