/** How numbers and tables look on a terminal. */

import { styleText } from "node:util";

export type Style = "bold" | "dim" | "red" | "green" | "yellow";

/** Colours only where stdout is a terminal that takes them; NO_COLOR is obeyed. */
export function paint(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout });
}

/** Three digits and a decimal unit: 999 B, 1.23 GB, 45.6 MB. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, ["B", "kB", "MB", "GB", "TB", "PB", "EB"]);
}

export function formatBitRate(bitsPerSecond: number): string {
  return scaled(bitsPerSecond, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]);
}

export function formatCount(count: number): string {
  return count.toLocaleString("en-US");
}

export function formatPercent(ratio: number): string {
  return `${(ratio * 100).toFixed(1)}%`;
}

/** 192.0.2.10:80, [2001:db8::10]:80 (RFC 3986, section 3.2.2). */
export function formatEndpoint(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The two largest units: 45s, 2h 04m, 3d 01h. */
export function formatAge(seconds: number): string {
  const whole = Math.floor(seconds);
  const [days, hours, minutes] = [
    Math.floor(whole / 86_400),
    Math.floor(whole / 3600) % 24,
    Math.floor(whole / 60) % 60,
  ];
  const two = (count: number) => String(count).padStart(2, "0");
  if (days > 0) return `${days}d ${two(hours)}h`;
  if (hours > 0) return `${hours}h ${two(minutes)}m`;
  if (minutes > 0) return `${minutes}m ${two(whole % 60)}s`;
  return `${whole}s`;
}

function scaled(value: number, units: string[]): string {
  let rest = value;
  let unit = 0;
  // 999.5 would round to four digits.
  while (rest >= 999.5 && unit < units.length - 1) {
    rest /= 1000;
    unit++;
  }
  const digits = unit === 0 || rest >= 99.95 ? 0 : rest >= 9.995 ? 1 : 2;
  return `${rest.toFixed(digits)} ${units[unit]}`;
}

export interface Column<Row> {
  title: string;
  text: (row: Row) => string;
  align?: "right";
  style?: (row: Row) => Style | undefined;
  /** A column with a number goes when the table is too wide, the highest first. */
  dispensable?: number;
}

const gap = "  ";

/** Lines of an aligned table with a header; `width` in characters, Infinity where nobody would wrap. */
export function formatTable<Row>(rows: readonly Row[], columns: readonly Column<Row>[], width: number): string[] {
  let kept = columns.map((column) => {
    const cells = rows.map((row) => clean(column.text(row)));
    return { column, cells, width: Math.max(column.title.length, ...cells.map((cell) => cell.length)) };
  });
  const total = () => kept.reduce((sum, { width: cell }) => sum + cell + gap.length, -gap.length);
  while (total() > width) {
    const next = Math.max(...kept.map(({ column }) => column.dispensable ?? 0));
    if (next === 0) break;
    kept = kept.filter(({ column }) => column.dispensable !== next);
  }
  const header = kept.map((part) => paint("dim", pad(part.column.title, part.width, part.column.align)));
  const lines = rows.map((row, index) =>
    kept.map(({ column, cells, width: cell }) => {
      const style = column.style?.(row);
      const text = pad(cells[index]!, cell, column.align);
      return style === undefined ? text : paint(style, text);
    }),
  );
  return [header, ...lines].map((line) => line.join(gap).trimEnd());
}

/** Width of the terminal; unlimited when stdout is none. */
export function terminalWidth(): number {
  return process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY;
}

function pad(text: string, width: number, align: "right" | undefined): string {
  return align === "right" ? text.padStart(width) : text.padEnd(width);
}

/** What the daemon says is shown, not obeyed: no control characters reach the terminal. */
function clean(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, "?");
}
