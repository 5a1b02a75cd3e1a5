import { describe, expect, it } from "vitest";
import { publishInsideNetworks } from "../../../src/control/inside-networks.ts";
import { isInside, isInside6 } from "../../../src/tables/inside-networks.ts";
import { SharedState } from "../../../src/tables/shared-state.ts";
import { addressNumber } from "../../support/packets.ts";

describe("publishing the networks of the inside", () => {
  it("tells the workers both families, and nothing when they know already", () => {
    const shared = new SharedState();
    expect(publishInsideNetworks(["192.168.10.0/24", "10.1.2.3", "fd00:10::/64"], shared)).toBe(true);
    const { generation } = shared;
    expect(isInside(shared.inside, addressNumber("192.168.10.77"))).toBe(true);
    expect(isInside(shared.inside, addressNumber("10.1.2.3"))).toBe(true);
    expect(isInside(shared.inside, addressNumber("10.1.2.4"))).toBe(false);
    expect(isInside6(shared.inside, 0xfd00_0010 | 0, 0, 5, 5)).toBe(true);
    expect(isInside6(shared.inside, 0xfd00_0010 | 0, 1, 5, 5)).toBe(false);
    publishInsideNetworks(["192.168.10.0/24", "10.1.2.3", "fd00:10::/64"], shared);
    expect(shared.generation).toBe(generation);
    publishInsideNetworks(["192.168.10.0/24"], shared);
    expect(shared.generation).not.toBe(generation);
    expect(isInside(shared.inside, addressNumber("10.1.2.3"))).toBe(false);
  });

  it("lets every source pass where there are too many to tell them apart, and says so", () => {
    const shared = new SharedState();
    const hosts = Array.from({ length: 200 }, (_, i) => `192.0.2.${i}`);
    expect(publishInsideNetworks([...hosts, "fd00::/64"], shared)).toBe(false);
    expect(isInside(shared.inside, addressNumber("198.51.100.1"))).toBe(true);
    expect(isInside6(shared.inside, 0x2001_0db8, 0, 0, 1), "the other family's are few").toBe(false);
  });
});
