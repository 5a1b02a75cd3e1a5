import { describe, expect, it } from "vitest";
import { parseConfig } from "../../../src/control/config.ts";
import { isVacant, reseat, withSpares } from "../../../src/control/uplink-seats.ts";

const configOf = (...names: string[]) =>
  parseConfig(
    `steer: { local: true }\nuplinks:\n${names.map((name) => `  - { name: ${name}, interface: ${name}x }`).join("\n")}`,
    "f.yaml",
  ).config;
const places = (config: { uplinks: { name: string }[] }) => config.uplinks.map(({ name }) => name);

describe("places", () => {
  it("are two more than uplinks, sixteen at most", () => {
    expect(places(withSpares(configOf("a", "b")))).toEqual(["a", "b", "", ""]);
    expect(withSpares(configOf("a", "b")).uplinks.filter(isVacant)).toHaveLength(2);
    const many = Array.from({ length: 15 }, (_, i) => `u${i}`);
    expect(withSpares(configOf(...many)).uplinks).toHaveLength(16);
  });

  it("are kept by uplinks that stay, whatever their order in the file", () => {
    const current = withSpares(configOf("a", "b"));
    expect(places(reseat(current, configOf("b", "c", "a")))).toEqual(["a", "b", "c", ""]);
  });

  it("are given to others when an uplink has left", () => {
    const current = withSpares(configOf("a", "b"));
    const without = reseat(current, configOf("b"));
    expect(places(without)).toEqual(["", "b", "", ""]);
    expect(places(reseat(without, configOf("d", "b", "c")))).toEqual(["d", "b", "c", ""]);
  });

  it("can run out", () => {
    const current = withSpares(configOf("a", "b"));
    expect(() => reseat(current, configOf("a", "b", "c", "d", "e"))).toThrow(
      "there is no place left for uplink e: a running daemon has 4; restart it",
    );
  });
});
