import { describe, expect, it } from "vitest";
import { CommandError, run, runJson } from "../../../src/control/command.ts";

describe("running a program", () => {
  it("gives what it printed, and what it printed as JSON", async () => {
    expect(await run("printf", ["a b"])).toBe("a b");
    expect(await runJson("printf", ['[{"a":1}]'], [])).toEqual([{ a: 1 }]);
    expect(await runJson("true", [], ["nothing"])).toEqual(["nothing"]);
  });

  it("names the command, its exit code and what it said when it fails", async () => {
    const failed = run("sh", ["-c", "echo no such thing >&2; exit 3"]);
    await expect(failed).rejects.toThrow("sh -c echo no such thing >&2; exit 3: no such thing");
    await expect(failed).rejects.toBeInstanceOf(CommandError);
    await expect(failed).rejects.toMatchObject({ exitCode: 3, stderr: "no such thing" });
  });

  it("names the exit code of a program that says nothing, and a signal that ended it", async () => {
    await expect(run("false", [])).rejects.toThrow("false: exit code 1");
    await expect(run("sh", ["-c", "kill -9 $$"])).rejects.toThrow("ended by SIGKILL");
  });

  it("says that a program is missing", async () => {
    await expect(run("sluice-no-such-program", [])).rejects.toThrow("sluice-no-such-program: program not found");
  });

  it("refuses output that is not JSON, showing where it begins", async () => {
    await expect(runJson("printf", ["Error: x"], [])).rejects.toThrow('printf Error: x: expected JSON, got "Error: x"');
  });

  it("bounds the output", async () => {
    await expect(run("head", ["-c", "70000000", "/dev/zero"])).rejects.toThrow("printed more than 67108864 bytes");
  });
});
