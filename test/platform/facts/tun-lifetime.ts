/**
 * A TUN device lives as long as its descriptors, its routes with it; and nobody else joins it by name.
 */

import assert from "node:assert/strict";
import { DeviceError } from "../../../src/io/device-error.ts";
import { loadNative } from "../../../src/io/native.ts";
import { openTunQueues } from "../../../src/io/tun.ts";
import { enterOwnNetwork, ip } from "../../support/own-network.ts";

enterOwnNetwork();
const native = loadNative();
const fds = openTunQueues("sluice0", 2);
ip("addr add 10.255.255.1/30 dev sluice0");
ip("link set sluice0 up");
ip("route add default dev sluice0 table 100");

const isNameInUse = (error: unknown) => error instanceof DeviceError && error.problem === "name-in-use";
assert.throws(() => openTunQueues("sluice0", 1), isNameInUse, "a second program is refused");
ip("link add name other type veth peer name other-end");
assert.throws(() => openTunQueues("other", 1), isNameInUse, "a device of another kind is not touched");

native.close(fds[0]!);
assert.match(ip("route show table 100"), /default dev sluice0/, "one queue is left, and so is the device");
native.close(fds[1]!);
assert.throws(() => ip("link show sluice0"), /does not exist/, "the device went with its last descriptor");
assert.equal(ip("route show table all").includes("sluice0"), false, "and so did its routes");

for (const fd of openTunQueues("sluice0", 1)) native.close(fd);
