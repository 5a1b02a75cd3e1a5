/**
 * Tells systemd how sluice is doing (sd_notify(3)): READY, STATUS, STOPPING, and the watchdog's sign of life.
 *
 * The protocol is a datagram to the Unix socket named in NOTIFY_SOCKET. Node has no Unix datagram
 * sockets, so each message is a run of `systemd-notify`, which is there wherever systemd is. The
 * message then comes from a child, so the unit needs NotifyAccess=all. systemd-notify waits until
 * the manager has taken the message (a barrier, since systemd 246), so that it is never attributed to
 * a process that is gone already. Outside systemd every call does nothing.
 */

import { spawn } from "node:child_process";
import { commandEnvironment, startFailure } from "./command.ts";
import type { Log } from "./log.ts";

const program = "systemd-notify";

export interface Notifier {
  /** Start is complete; `status` is what `systemctl status` shows. */
  ready(status: string): void;
  status(text: string): void;
  /** Resolves when systemd has been told, so that the process may end. */
  stopping(): Promise<void>;
  /** Sends signs of life for as long as `isAlive` says so; with none, systemd restarts the unit. Does nothing without WatchdogSec. */
  startWatchdog(isAlive: () => boolean): void;
}

/** Messages are sent one after the other: STOPPING never overtakes READY. */
export function createNotifier(log: Log, environment: NodeJS.ProcessEnv = process.env): Notifier {
  const underSystemd = environment.NOTIFY_SOCKET !== undefined;
  let last: Promise<void> = Promise.resolve();
  let complained = false;
  let watchdog: NodeJS.Timeout | undefined;
  let unsent = 0;

  function send(...assignments: string[]): Promise<void> {
    if (!underSystemd) return last;
    unsent++;
    last = last.then(async () => {
      const failure = await notify(assignments, environment);
      unsent--;
      if (failure === undefined || complained) return;
      complained = true;
      log.warn({ message: assignments[0], why: failure }, "systemd could not be told");
    });
    return last;
  }

  return {
    ready: (status) => void send("READY=1", `STATUS=${oneLine(status)}`),
    status: (text) => void send(`STATUS=${oneLine(text)}`),
    stopping() {
      clearInterval(watchdog);
      return send("STOPPING=1", "STATUS=undoing what was set");
    },
    startWatchdog(isAlive) {
      const periodMs = watchdogPeriodMs(environment);
      if (!underSystemd || periodMs === undefined) return;
      // Twice as often as systemd asks for, as sd_watchdog_enabled(3) advises; but never a queue of them.
      watchdog = setInterval(() => unsent === 0 && isAlive() && void send("WATCHDOG=1"), periodMs / 2);
      watchdog.unref();
    },
  };
}

/** WATCHDOG_PID names whom the watchdog is meant for: an inherited environment is not an order. */
function watchdogPeriodMs(environment: NodeJS.ProcessEnv): number | undefined {
  const microseconds = Number(environment.WATCHDOG_USEC);
  const pid = environment.WATCHDOG_PID;
  if (!(microseconds > 0) || (pid !== undefined && pid !== String(process.pid))) return undefined;
  return microseconds / 1000;
}

/** Undefined when it worked, else why not. */
function notify(assignments: string[], environment: NodeJS.ProcessEnv): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn(program, assignments, {
      stdio: "ignore",
      timeout: 5_000,
      env: { ...commandEnvironment, ...environment, PATH: commandEnvironment.PATH },
    });
    child.on("error", (error) => resolve(startFailure(program, error)));
    child.on("exit", (code, signal) => resolve(code === 0 ? undefined : `${program} ended with ${signal ?? code}`));
  });
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}
