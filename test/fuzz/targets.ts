/** What is fuzzed, by name: a module each in targets/. */
import type { Target } from "./engine.ts";

export const targetNames = ["decode", "icmp", "icmp6", "mss", "fragments", "vnet", "config", "control"] as const;

export interface TargetModule {
  fuzz: Target;
  /** Inputs to begin with, made by hand. */
  seeds(): Uint8Array[];
  /** Releases what the module holds, where it holds anything. */
  close?(): Promise<void>;
}

/** Code that a target's inputs reach, and whose branches count. */
export const instrumentedModules = /\/src\/(?!io\/memory-io)|\/node_modules\/yaml\/dist\//;

export async function loadTarget(name: string): Promise<TargetModule> {
  return (await import(`./targets/${name}.ts`)) as TargetModule;
}
