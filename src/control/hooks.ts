import type { HooksConfig } from "./config-types.ts";
import type { Log } from "./log.ts";
export interface HookEvent {
  action: string;
  uplink: string;
  interface: string;
  address: string | null;
  state: string;
  reason: string;
}
export interface Hooks {
  run(event: HookEvent): void;
  configure(config: HooksConfig): void;
  stop(): Promise<void>;
}
export function createHooks(_config: HooksConfig, _log: Log): Hooks {
  return { run() {}, configure() {}, async stop() {} };
}
