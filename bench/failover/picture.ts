/** Throughput per line over time, one panel a contender, with what was done to the lines marked: an SVG. */

import { init } from "echarts";
import type { Isp } from "../../test/support/lab.ts";

/** A recording, as far as it is drawn. */
export interface Series {
  readonly title: string;
  readonly seconds: number;
  readonly events: readonly { readonly at: number; readonly what: string }[];
  /** [seconds, Mbit/s], by line. */
  readonly lines: Readonly<Partial<Record<Isp, readonly (readonly [number, number])[]>>>;
}

const width = 900;
const panelHeight = 200;
const headHeight = 76;
const colors: Readonly<Record<Isp, string>> = { isp1: "#c23531", isp2: "#2f6f9f", isp3: "#61a0a8" };

/** Draws them one above the other with the same scales, so that they can be compared. */
export function drawThroughput(title: string, panels: readonly Series[]): string {
  const top = Math.max(
    1,
    ...panels.flatMap(({ lines }) => Object.values(lines).flatMap((line) => line.map(([, y]) => y))),
  );
  const chart = init(null, null, {
    renderer: "svg",
    ssr: true,
    width,
    height: headHeight + panels.length * panelHeight,
  });
  try {
    chart.setOption({
      animation: false,
      backgroundColor: "#ffffff",
      title: [
        { text: `${title}: Mbit/s by line`, left: 10, top: 6, textStyle: { fontSize: 15 } },
        ...panels.map((panel, index) => ({
          text: panel.title,
          left: 60,
          top: topOf(index) - 40,
          textStyle: { fontSize: 12 },
        })),
      ],
      legend: { data: ["isp1", "isp2"], right: 20, top: 8 },
      grid: panels.map((_, index) => ({ left: 60, right: 30, top: topOf(index), height: panelHeight - 76 })),
      xAxis: panels.map(({ seconds }, index) => ({
        gridIndex: index,
        type: "value",
        max: Math.ceil(seconds),
        name: index === panels.length - 1 ? "seconds" : "",
        nameLocation: "middle",
        nameGap: 24,
      })),
      yAxis: panels.map((_, index) => ({
        gridIndex: index,
        type: "value",
        max: Math.ceil(top / 20) * 20,
        interval: 20,
      })),
      series: panels.flatMap(seriesOf),
    });
    return chart.renderToSVGString();
  } finally {
    // Its timers would keep the process alive.
    chart.dispose();
  }
}

function topOf(index: number): number {
  return headHeight + index * panelHeight + 14;
}

function seriesOf({ events, lines }: Series, index: number) {
  return Object.entries(lines).map(([isp, data], position) => ({
    name: isp,
    type: "line" as const,
    xAxisIndex: index,
    yAxisIndex: index,
    showSymbol: false,
    lineStyle: { width: 1.4, color: colors[isp as Isp] },
    itemStyle: { color: colors[isp as Isp] },
    data: data.map((point) => [...point]),
    ...(position > 0 ? {} : { markLine: marks(events) }),
  }));
}

function marks(events: Series["events"]) {
  return {
    symbol: "none",
    silent: true,
    lineStyle: { color: "#333333", type: "dashed" as const },
    label: { formatter: "{b}", fontSize: 10, position: "end" as const, distance: 3 },
    data: events.map(({ at, what }) => ({ name: what, xAxis: at })),
  };
}
