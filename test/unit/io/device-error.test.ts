import { expect, test } from "vitest";
import { DeviceError, openOrExplain } from "../../../src/io/device-error.ts";

function failWith(syscall: string, code: string): DeviceError {
  const cause = Object.assign(new Error("from the shim"), { syscall, code });
  try {
    openOrExplain("TUN device sluice0", () => {
      throw cause;
    });
  } catch (error) {
    expect((error as DeviceError).cause).toBe(cause);
    return error as DeviceError;
  }
  throw new Error("nothing was thrown");
}

test.each([
  ["open /dev/net/tun", "ENOENT", "no-tun-driver", /modprobe tun/],
  ["open /dev/net/tun", "EACCES", "no-permission", /root/],
  ["ioctl TUNSETIFF", "EPERM", "no-permission", /CAP_NET_ADMIN/],
  ["ioctl TUNSETIFF", "EBUSY", "name-in-use", /another sluice/],
  ["ioctl TUNSETIFF", "EINVAL", "name-in-use", /ip link show/],
  ["ioctl TUNSETOFFLOAD", "EINVAL", "no-vnet-headers", /vnet headers/],
  ["bpf BPF_PROG_LOAD", "EPERM", "no-permission", /CAP_BPF/],
  ["bpf BPF_PROG_LOAD", "ENOSYS", "no-steering", /CONFIG_BPF_SYSCALL/],
  ["bind", "ENODEV", "no-interface", /ip link show/],
  ["socket AF_PACKET", "EMFILE", "other", /socket AF_PACKET: EMFILE/],
] as const)("%s: %s is the question %s", (syscall, code, problem, advice) => {
  const error = failWith(syscall, code);
  expect(error).toBeInstanceOf(DeviceError);
  expect(error.problem).toBe(problem);
  expect(error.message).toMatch(/^TUN device sluice0: /);
  expect(error.message).toMatch(advice);
});

test("a mistake of ours stays what it is", () => {
  const mistake = new TypeError("undefined is not a function");
  expect(() =>
    openOrExplain("TUN device sluice0", () => {
      throw mistake;
    }),
  ).toThrow(mistake);
});
