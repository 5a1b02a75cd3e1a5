/**
 * Any text as the configuration: it is read, or every problem is told with a place and on one line; nothing else is thrown.
 *
 *     input: the file
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { ConfigError, formatProblem, type Problem, parseConfig } from "../../../src/control/config.ts";

const file = "sluice.yaml";

export function fuzz(input: Uint8Array): void {
  const text = Buffer.from(input).toString("utf8");
  try {
    for (const warning of parseConfig(text, file).warnings) checkProblem(warning, text, "warning");
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    assert.ok(error.problems.some(({ severity }) => severity === "error"));
    for (const problem of error.problems) checkProblem(problem, text);
  }
}

function checkProblem(problem: Problem, text: string, severity?: string): void {
  assert.ok(problem.message !== "");
  if (severity !== undefined) assert.equal(problem.severity, severity);
  const lines = text.split(/\r\n|\r|\n/).length;
  assert.ok(problem.line >= 1 && problem.line <= lines + 1, `line ${problem.line} of ${lines}`);
  assert.ok(problem.column >= 1, `column ${problem.column}`);
  const line = formatProblem(file, problem);
  // What stands in a file must not drive the terminal of whoever reads about it.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
  assert.ok(!/[\u0000-\u001f\u007f-\u009f]/.test(line), JSON.stringify(line));
}

export function seeds(): Uint8Array[] {
  const example = readFileSync(new URL("../../../share/sluice.yaml", import.meta.url), "utf8");
  const small = "uplinks:\n  - {name: a, interface: wan0}\n  - {name: b, interface: wan1, weight: 2, tier: 2}\n";
  const texts = [
    example.replaceAll(/ *#.*/g, ""),
    example.replaceAll(/^( *)## /gm, "$1").replaceAll(/ *#.*/g, ""),
    `${small}  - {name: c, interface: w, probe: {type: tcp, targets: ["[::1]:5", "1.2.3.4:5"], quorum: 2, latency: 1s}}\n`,
    `${small}  - {name: c, interface: w, probe: {type: http, targets: ["http://[fe80::1]/"], timeout: 9ms}, rate: "0"}\n`,
    `${small}hooks: {up: /a, timeout: 1ms}\nbalance: {overflow: 0.5, sticky: {by: source, timeout: 1ms}}\n`,
    small,
    `${small}tun: {name: tun1, address: 10.0.0.1/30}\nsteer: {interfaces: [lan0], local: false}\n`,
    `${small}nat: {ports: 2000-3000, mapping: address-and-port-dependent, timeouts: {udp: 30s, tcpEstablished: 2h4m}}\n`,
    `${small}forwards:\n  - {uplink: [a, b], protocol: both, port: 80-89, to: 192.168.10.2:8080-8089}\n`,
    `${small}limits: {flows: 1000, flowsPerHost: 10}\nworkers: 2\nbalance: {key: source}\nlog: {level: debug}\n`,
    "uplinks: &u\n  - &a {name: a, interface: wan0}\nx: *u\ny: [*a, *a]\n",
    "a: b: c\n\t- ]\n",
    // A key that would clear the terminal of whoever reads that it is unknown.
    `${small}"\\e[2J\\x9b": 1\nlog: {"\\a": "\\x7f"}\n`,
  ];
  return texts.map((text) => new TextEncoder().encode(text));
}
