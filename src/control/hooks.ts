/**
 * The programs that the configuration names for events of an uplink.
 *
 * An uplink's events are run one at a time, in their order, and other uplinks' beside them; nothing else ever waits for a
 * program. Whatever it does - it is missing, fails, hangs, prints megabytes - ends in one line of the log. Everything is bounded:
 * waiting events (the oldest give way: a program that is slow still learns how things stand in the end), output, and time.
 */

import { commandEnvironment } from "./command.ts";
import type { HooksConfig } from "./config-types.ts";
import { type HookRun, runHook } from "./hook-run.ts";
import type { Log } from "./log.ts";

/** Events of one uplink that wait for the program before them. */
const maxWaiting = 16;

export interface HookEvent {
  action: "up" | "down" | "degraded" | "address";
  uplink: string;
  interface: string;
  address: string | null;
  state: string;
  reason: string;
}

export interface Hooks {
  /** Runs the program of the event's action, where there is one, when those before it have ended. */
  run(event: HookEvent): void;
  /** Programs and time limit of what begins from now on. */
  configure(config: HooksConfig): void;
  /** Ends what runs, forgets what waits, and begins nothing more. */
  stop(): Promise<void>;
}

/** Of one uplink; it is there as long as something runs. */
interface Queue {
  waiting: HookEvent[];
  current: HookRun | undefined;
  /** Resolves when nothing runs or waits any more. */
  empty: Promise<void>;
}

export function createHooks(first: HooksConfig, log: Log): Hooks {
  const queues = new Map<string, Queue>();
  let config = first;
  let isStopped = false;

  async function work(uplink: string, queue: Queue): Promise<void> {
    for (let event = queue.waiting.shift(); event !== undefined; event = queue.waiting.shift())
      await runOne(event, queue);
    queues.delete(uplink);
  }

  async function runOne(event: HookEvent, queue: Queue): Promise<void> {
    // As the configuration has it now, which may be newer than the event.
    const program = config[event.action];
    if (program === undefined) return;
    queue.current = runHook(program, environmentOf(event), config.timeoutMs);
    const { failure, output } = await queue.current.ended;
    queue.current = undefined;
    const fields = { uplink: event.uplink, action: event.action, hook: program, ...(output !== "" && { output }) };
    if (failure !== "") log.warn({ ...fields, reason: failure }, "hook failed");
    else if (output !== "") log.info(fields, "hook has run");
    else log.debug(fields, "hook has run");
  }

  function run(event: HookEvent): void {
    if (isStopped || config[event.action] === undefined) return;
    const known = queues.get(event.uplink);
    if (known === undefined) {
      const queue: Queue = { waiting: [event], current: undefined, empty: Promise.resolve() };
      queues.set(event.uplink, queue);
      queue.empty = work(event.uplink, queue);
      return;
    }
    known.waiting.push(event);
    if (known.waiting.length <= maxWaiting) return;
    const { action } = known.waiting.shift()!;
    log.warn({ uplink: event.uplink, action }, `hook not run: ${maxWaiting} later events wait for the one that runs`);
  }

  async function stop(): Promise<void> {
    isStopped = true;
    for (const queue of queues.values()) {
      queue.waiting = [];
      queue.current?.end("ended because sluice ends");
    }
    await Promise.all([...queues.values()].map(({ empty }) => empty));
  }

  return {
    run,
    configure(next) {
      config = next;
    },
    stop,
  };
}

/** The daemon's own environment and the event; without what lets a process speak to systemd in the daemon's name. */
function environmentOf(event: HookEvent): NodeJS.ProcessEnv {
  return {
    ...process.env,
    PATH: commandEnvironment.PATH,
    NOTIFY_SOCKET: undefined,
    WATCHDOG_USEC: undefined,
    WATCHDOG_PID: undefined,
    ACTION: event.action,
    UPLINK: event.uplink,
    INTERFACE: event.interface,
    ADDRESS: event.address ?? "",
    STATE: event.state,
    // Half of it may come from the network; a zero byte would keep the program from being started.
    REASON: event.reason.replaceAll(/\p{Cc}/gu, "?"),
  };
}
