/**
 * A prober as a program of its own, to run in the lab's router beside a daemon.
 *
 *     prober.ts FILE       {"path": ProbePath, "config": ProbeConfig}
 *
 * Prints a line of JSON a round. SIGHUP has it read the file again and follow the path in it, SIGUSR1 print {"descriptors": N}, SIGTERM
 * stop, print "stopped N" with the descriptors that are open then, and end when nothing keeps it any more.
 */

import { readdirSync, readFileSync } from "node:fs";
import { startProber } from "../../../src/control/probes/prober.ts";

const file = process.argv[2]!;
const read = () => JSON.parse(readFileSync(file, "utf8"));
const descriptors = () => readdirSync("/proc/self/fd").length;

const { path, config } = read();
const prober = startProber(path, config, (round) => console.log(JSON.stringify(round)));
process.on("SIGHUP", () => prober.follow(read().path));
process.on("SIGUSR1", () => console.log(JSON.stringify({ descriptors: descriptors() })));
process.once("SIGTERM", () => {
  prober.stop();
  console.log(`stopped ${descriptors()}`);
  // Signals keep a process alive as little as standard output does.
  setTimeout(() => process.exit(3), 5000).unref();
});
