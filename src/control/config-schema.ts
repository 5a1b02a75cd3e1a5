/**
 * The shape of the configuration: sluice.schema.json applied, its complaints in sluice's words.
 *
 * The schema is the one place for keys, shapes, number limits and default values; editors read the
 * same file. `errorMessage` in it says what was expected (VS Code's YAML support shows it too).
 */

import { readFileSync } from "node:fs";
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import type { ConfigDocument } from "./config-document.ts";
import { type ConfigPath, formatPath, formatValue, type Problem } from "./config-problem.ts";
import type { BalanceKey, Config, Failback, Filtering, Mapping, Policy, ProbeType, RuleMatch } from "./config-types.ts";
import { nearest } from "./nearest.ts";

/** The file's own shape once the schema has passed it: every default filled in, notations still text. */
export interface RawConfig {
  tun: { name: string; address: string };
  steer: { interfaces: string[]; local: boolean };
  uplinks: {
    name: string;
    interface: string;
    gateway?: string;
    address?: string;
    ipv6: { address?: string; gateway?: string; prefix?: string } | boolean;
    weight: number;
    tier: number;
    probe?: RawThresholds & {
      type: ProbeType;
      targets?: string[];
      quorum: number;
      interval: string;
      timeout: string;
      down: number;
      up: number;
      window: number;
      degraded: RawThresholds;
      query: string;
    };
    passive: boolean;
    holdDown: string;
    onDown: string;
    failback: Failback;
    rate?: string | { up: string; down: string };
    cap?: { monthly: string; firstDay: number; weight: number };
    schedule: { days?: string[]; from: string; to: string; weight: number }[];
  }[];
  balance: {
    key: BalanceKey;
    policy: Policy;
    sticky?: { by: "source" | "source-destination"; timeout: string };
    rescue: boolean;
    overflow?: number;
    explore: number;
  };
  groups: { name: string; uplinks: Record<string, number> }[];
  rules: {
    match: {
      source?: string[];
      destination?: string[];
      domain?: string[];
      protocol?: NonNullable<RuleMatch["protocol"]>;
      sourcePort?: (string | number)[];
      destinationPort?: (string | number)[];
      interface?: string[];
      dscp?: number[];
    };
    use?: string[];
    strict: boolean;
    bypass: boolean;
  }[];
  hooks: { up?: string; down?: string; degraded?: string; address?: string; timeout: string };
  nat: {
    ports: string;
    mapping: Mapping;
    filtering: Filtering;
    insidePrefix?: string;
    timeouts: Record<"tcpEstablished" | "tcpTransitory" | "udp" | "icmp" | "other", string>;
  };
  forwards: { uplink?: string | string[]; protocol: "tcp" | "udp" | "both"; port: string | number; to: string }[];
  limits: { flows: number; flowsPerHost: number };
  workers: "auto" | number;
  io: Config["io"];
  failMode: Config["failMode"];
  log: Config["log"];
  control: { socket: string; stateDirectory: string };
}

export interface RawThresholds {
  loss?: number;
  latency?: string;
  jitter?: string;
}

interface SchemaNode {
  type?: string | string[];
  errorMessage?: string;
  enum?: string[];
  minimum?: number;
  maximum?: number;
  default?: unknown;
  properties?: Record<string, SchemaNode>;
}

const schema = JSON.parse(readFileSync(new URL("../../sluice.schema.json", import.meta.url), "utf8")) as SchemaNode;

export const defaultSocket = schema.properties!.control!.properties!.socket!.default as string;

// strictSchema stays on, so that a typo in the schema itself is found at start and not by a user.
const ajv = new Ajv({
  allErrors: true,
  verbose: true,
  useDefaults: true,
  strictRequired: false,
  allowUnionTypes: true,
});
ajv.addKeyword({ keyword: "errorMessage", schemaType: "string" });
/** Made when it is first asked for: compiling takes longer than all else that a command such as `status` does. */
const compiled: { validate?: ValidateFunction } = {};

/** Fills defaults into the document's value, in place, and returns every deviation from the schema. */
export function checkSchema(document: ConfigDocument): Problem[] {
  compiled.validate ??= ajv.compile(schema);
  const { validate } = compiled;
  if (validate(document.value)) return [];
  const errors = validate.errors ?? [];
  // A failed anyOf reports each of its branches as well; what was expected stands on the anyOf itself.
  const alternatives = errors.filter((error) => error.keyword === "anyOf");
  const inBranch = (error: ErrorObject) =>
    alternatives.some(
      (whole) =>
        error !== whole &&
        error.instancePath.startsWith(whole.instancePath) &&
        error.schemaPath.startsWith(`${whole.schemaPath}/`),
    );
  return errors.filter((error) => !inBranch(error)).map((error) => translate(error, document));
}

function translate(error: ErrorObject, document: ConfigDocument): Problem {
  const node = error.parentSchema as SchemaNode;
  const path = toPath(error.instancePath, document.value);
  if (error.keyword === "additionalProperties")
    return unknownKey(path, String(error.params.additionalProperty), node, document);
  if (error.keyword === "required") {
    const missing = [...path, String(error.params.missingProperty)];
    return { severity: "error", ...document.positionOf(path), path: formatPath(missing), message: "is missing" };
  }
  return {
    severity: "error",
    ...document.positionOf(path),
    path: formatPath(path),
    value: formatValue(error.data),
    message: path.length === 0 ? `the file ${describe(error, node)}` : describe(error, node),
    expected: error.keyword === "uniqueItems" ? "every entry once" : expectation(node),
  };
}

function unknownKey(parent: ConfigPath, key: string, node: SchemaNode, document: ConfigDocument): Problem {
  const known = Object.keys(node.properties ?? {});
  const suggestion = nearest(key, known);
  return {
    severity: "error",
    ...document.positionOf([...parent, key], "key"),
    path: formatPath([...parent, key]),
    value: formatValue(key),
    message: suggestion === undefined ? "unknown key" : `unknown key; did you mean ${suggestion}?`,
    expected: `one of ${known.join(", ")}`,
  };
}

function describe(error: ErrorObject, node: SchemaNode): string {
  switch (error.keyword) {
    case "type":
      return error.data === null ? "has no value" : "is of the wrong kind";
    case "enum": {
      const suggestion = typeof error.data === "string" ? nearest(error.data, node.enum ?? []) : undefined;
      return suggestion === undefined ? "is not a known value" : `is not a known value; did you mean ${suggestion}?`;
    }
    case "minimum":
      return "is too small";
    case "maximum":
      return "is too large";
    case "minItems":
      return "has too few entries";
    case "maxItems":
      return `has too many entries (${(error.data as unknown[]).length})`;
    case "uniqueItems":
      return `names ${formatValue((error.data as unknown[])[Number(error.params.i)])} twice`;
    default:
      return "is not valid";
  }
}

function expectation(node: SchemaNode & { minItems?: number; maxItems?: number }): string {
  if (node.errorMessage !== undefined) return node.errorMessage;
  if (node.enum !== undefined) return `one of ${node.enum.join(", ")}`;
  const from = node.minimum !== undefined ? ` from ${node.minimum} to ${node.maximum}` : "";
  switch (node.type) {
    case "object":
      return "a mapping";
    case "array":
      return node.maxItems === undefined ? "a list" : `a list of ${node.minItems ?? 0} to ${node.maxItems} entries`;
    case "boolean":
      return "true or false";
    case "integer":
      return `a whole number${from}`;
    case "number":
      return `a number${from}`;
    default:
      return "text";
  }
}

/** ajv names the place by a JSON pointer, in which a list index looks like a key. */
function toPath(pointer: string, root: unknown): ConfigPath {
  const path: (string | number)[] = [];
  let value = root;
  for (const token of pointer.split("/").slice(1)) {
    const key = token.replaceAll("~1", "/").replaceAll("~0", "~");
    path.push(Array.isArray(value) ? Number(key) : key);
    value = (value as Record<string, unknown>)[key];
  }
  return path;
}
