import { describe, expect, it } from "vitest";
import { formerPorts, isPortList, withoutReservation } from "../../../src/control/reserved-ports.ts";

const ours = { firstPort: 16_384, lastPort: 32_767 };

describe("the reserved ports", () => {
  it("remember what was reserved within the range before", () => {
    expect(formerPorts("8080,20000-20010,32767-33000", 16_384, 32_767, [])).toBe("20000-20010,32767");
    expect(formerPorts("", 16_384, 32_767, [])).toBe("");
  });

  it("do not take another instance's range for the administrator's, but what that one found there", () => {
    const other = { firstPort: 16_384, lastPort: 32_767, formerly: "20000" };
    expect(formerPorts("16384-32767", 16_384, 32_767, [other])).toBe("20000");
  });

  it("come back to the letter", () => {
    expect(withoutReservation("8080,16384-33000", { ...ours, formerly: "20000-20010,32767" }, [])).toBe(
      "8080,20000-20010,32767-33000",
    );
    expect(withoutReservation("16384-32767", { ...ours, formerly: "" }, [])).toBe("");
  });

  it("keep what somebody added meanwhile", () => {
    expect(withoutReservation("9100,16384-32767,40000", { ...ours, formerly: "" }, [])).toBe("9100,40000");
  });

  it("stay as they are when somebody wrote them anew", () => {
    expect(withoutReservation("8080,20000", { ...ours, formerly: "" }, [])).toBe("8080,20000");
  });

  it("stay reserved where another running instance needs them", () => {
    const other = { firstPort: 30_000, lastPort: 40_000, formerly: "" };
    expect(withoutReservation("16384-40000", { ...ours, formerly: "" }, [other])).toBe("30000-40000");
  });

  it.each([
    ["", true],
    ["1", true],
    ["8080,16384-32767", true],
    ["1,", false],
    ["1-2-3", false],
    ["x", false],
    ["1 2", false],
  ])("%j is a list as the kernel prints it: %s", (text, is) => {
    expect(isPortList(text)).toBe(is);
  });
});
