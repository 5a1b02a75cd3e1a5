/**
 * Shows something again every second: in place on a terminal, one after the other elsewhere.
 *
 * On a terminal the alternate screen is used, so that the shell's own text is back afterwards, however
 * this ends: q, Ctrl-C, SIGTERM, or a daemon that goes away.
 */

const periodMs = 1000;
const enterScreen = "\x1b[?1049h\x1b[?25l";
const leaveScreen = "\x1b[?25h\x1b[?1049l";
const home = "\x1b[H";
const clearToEndOfLine = "\x1b[K";
const clearBelow = "\x1b[J";

/** Resolves when the person has had enough; rejects as `look` does. */
export async function watch(look: () => Promise<string[]>): Promise<void> {
  const onTerminal = process.stdout.isTTY === true;
  const stop = listenForEnd();
  try {
    if (onTerminal) process.stdout.write(enterScreen);
    while (!stop.asked()) {
      const lines = await look();
      if (onTerminal) draw(lines);
      else process.stdout.write(`${lines.join("\n")}\n`);
      await stop.orAfter(periodMs);
    }
  } finally {
    if (onTerminal) process.stdout.write(leaveScreen);
    stop.close();
  }
}

/** Overwrites in place: clearing the screen first would flicker. A line too many would scroll the first one away. */
function draw(lines: string[]): void {
  const shown = lines.slice(0, process.stdout.rows - 1);
  process.stdout.write(`${home}${shown.map((line) => line + clearToEndOfLine).join("\n")}\n${clearBelow}`);
}

function listenForEnd() {
  let ended = false;
  let wake = () => {};
  const end = () => {
    ended = true;
    wake();
  };
  // Raw mode delivers Ctrl-C as a byte, not as a signal.
  const onKey = (key: Buffer) => {
    if (key.includes("q") || key.includes(3)) end();
  };
  const keyboard = process.stdin.isTTY && process.stdout.isTTY ? process.stdin : undefined;
  keyboard?.setRawMode(true).on("data", onKey).resume();
  const onResize = () => wake();
  process.stdout.on("resize", onResize);
  process.on("SIGINT", end).on("SIGTERM", end);
  return {
    asked: () => ended,
    orAfter(delayMs: number): Promise<void> {
      if (ended) return Promise.resolve();
      return new Promise((resolve) => {
        const timer = setTimeout(resolve, delayMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    },
    close() {
      keyboard?.setRawMode(false).off("data", onKey).pause();
      process.stdout.off("resize", onResize);
      process.off("SIGINT", end).off("SIGTERM", end);
    },
  };
}
