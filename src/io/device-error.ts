/**
 * What the operating system refused, as a question a person can answer: the one place where an errno
 * of opening a device becomes words.
 */

import { isNativeError } from "./native.ts";

export type DeviceProblem =
  | "no-tun-driver"
  | "no-permission"
  | "name-in-use"
  | "no-vnet-headers"
  | "no-interface"
  | "no-steering"
  | "other";

/** A device that could not be opened. `problem` names what is missing, the message says what to do about it. */
export class DeviceError extends Error {
  override readonly name = "DeviceError";
  readonly problem: DeviceProblem;

  constructor(problem: DeviceProblem, message: string, cause: unknown) {
    super(message, { cause });
    this.problem = problem;
  }
}

/** Runs an opening of `device` and turns the errno of its failure into a `DeviceError`. Wrong arguments pass through: they are our mistake. */
export function openOrExplain<T>(device: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (!isNativeError(error)) throw error;
    const problem = nameProblem(error.syscall, error.code);
    throw new DeviceError(problem, `${device}: ${questions[problem]} (${error.syscall}: ${error.code})`, error);
  }
}

const questions: Record<DeviceProblem, string> = {
  "no-tun-driver": "is the TUN driver there? Try 'modprobe tun'; in a container, pass /dev/net/tun in",
  "no-permission": "is this running as root, or with CAP_NET_ADMIN and CAP_NET_RAW (and CAP_BPF for several workers)?",
  "name-in-use": "is another sluice running, or another device of this name there? 'ip link show' lists it",
  "no-vnet-headers":
    "does this kernel know vnet headers and offloads on TUN devices? It needs CONFIG_TUN of Linux 4.8 or newer",
  "no-interface": "is this interface there? 'ip link show' lists it",
  "no-steering":
    "does this kernel let a program choose the TUN queue? Several workers need CONFIG_BPF_SYSCALL and Linux 4.16 or newer",
  other: "the system refused it",
};

function nameProblem(systemCall: string, code: string): DeviceProblem {
  if (code === "EPERM" || code === "EACCES") return "no-permission";
  if (systemCall === "open /dev/net/tun" && (code === "ENOENT" || code === "ENODEV" || code === "ENXIO"))
    return "no-tun-driver";
  if (systemCall === "ioctl TUNSETIFF" && code === "EBUSY") return "name-in-use";
  if (systemCall === "ioctl TUNSETIFF" && code === "EINVAL") return "name-in-use";
  if (systemCall === "ioctl TUNSETVNETHDRSZ" || systemCall === "ioctl TUNSETOFFLOAD") return "no-vnet-headers";
  if (systemCall === "ioctl TUNSETSTEERINGEBPF" || systemCall === "bpf BPF_PROG_LOAD") return "no-steering";
  if (systemCall === "bind" && (code === "ENODEV" || code === "ENXIO")) return "no-interface";
  return "other";
}
